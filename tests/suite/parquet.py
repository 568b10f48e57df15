"""Writes one table to the directory that the argument names: as CSV and, in many ways, as Parquet."""

import datetime
import decimal
import os
import sys

import fastparquet
import pandas
import pyarrow
import pyarrow.csv
import pyarrow.parquet

os.chdir(sys.argv[1])
rows = 3000
first = datetime.datetime(2026, 10, 1, 12, 30, 15)
times = [None if row % 97 == 0 else first + datetime.timedelta(minutes=17 * row) for row in range(rows)]
columns = {
    "id": pyarrow.array(range(rows), pyarrow.int32()),
    "when": pyarrow.array(times, pyarrow.timestamp("us")),
    "score": pyarrow.array([None if row % 11 == 0 else row / 7 for row in range(rows)], pyarrow.float64()),
    "text": pyarrow.array([f"é, \"{row * row}\"" for row in range(rows)]),
    "class": pyarrow.array([None if row % 31 == 0 else ["yes", "no", "möglich"][row % 3] for row in range(rows)]),
}
table = pyarrow.table(columns)
pyarrow.csv.write_csv(table, "table.csv")


def write(name, table=table, **how):
    pyarrow.parquet.write_table(table, f"{name}.parquet", **how)


# The same rows, written in different ways.
write("plain", compression="none")
write("snappy", compression="snappy")
write("gzip", compression="gzip")
write("zstd", compression="zstd", row_group_size=700)
write("lz4", compression="lz4")
write("pages", data_page_version="2.0", data_page_size=500, use_dictionary=False)
write("delta", use_dictionary=False, version="2.6",
      column_encoding={"id": "DELTA_BINARY_PACKED", "text": "DELTA_BYTE_ARRAY", "class": "DELTA_LENGTH_BYTE_ARRAY"})
write("split", use_dictionary=False, column_encoding={"score": "BYTE_STREAM_SPLIT"})
write("checksums", write_page_checksum=True, write_page_index=True)
write("categories", table.set_column(4, "class", table["class"].dictionary_encode()))
write("wider", table.set_column(0, "id", table["id"].cast(pyarrow.int64())))
write("milliseconds", table.set_column(1, "when", table["when"].cast(pyarrow.timestamp("ms"))))
write("renamed", table.rename_columns(["number", "when", "score", "text", "class"]))
required = pyarrow.schema([field.with_nullable(field.name not in ("id", "text")) for field in table.schema])
write("required", table.cast(required))
write("shuffled", table.take(pyarrow.array([row * 1009 % rows for row in range(rows)])))
write("int96", use_deprecated_int96_timestamps=True)
frame = table.to_pandas()
fastparquet.write("fast.parquet", frame, compression="GZIP", times="int64")
frame["when"] = frame["when"].astype("datetime64[ns]")
fastparquet.write("old.parquet", frame, times="int96", row_group_offsets=[0, 1000])
os.mkdir("shards")
for shard in range(3):
    write(f"shards/{shard}", table.slice(shard * 1000, 1000))

# Other rows.
write("one-cell", table.set_column(2, "score", pyarrow.array([0.5] + columns["score"].to_pylist()[1:])))
write("less", table.slice(1))

# Columns of every kind.
kinds = {
    "text": ["a", "b", None, "a"],
    "bytes": [b"a", b"b", None, b"a"],
    "broken": [b"a", b"\xff", None, b"a"],
    "boolean": [True, False, None, True],
    "unsigned": pyarrow.array([2**32 - 1, 0, None, 0], pyarrow.uint32()),
    "long": pyarrow.array([2**64 - 1, 0, None, 0], pyarrow.uint64()),
    "small": pyarrow.array([-1, 0, None, 0], pyarrow.int8()),
    "float": pyarrow.array([0.1, float("nan"), None, 2.0], pyarrow.float32()),
    "half": pyarrow.array([1, 2, None, 3], pyarrow.float16()),
    "decimal": [decimal.Decimal("1.50"), None, None, None],
    "list": [["a"], ["b", None], [], None],
    "struct": [{"label": "a", "deep": [[1], []]}, {"label": None, "deep": None}, None, {"label": "b", "deep": []}],
    "map": pyarrow.array([[("a", 1)], [], None, []], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
    "date": pyarrow.array([20000, None, 20001, 0], pyarrow.date32()),
    "clock": pyarrow.array([1, None, 2, 3], pyarrow.time64("us")),
    "nanoseconds": pyarrow.array([1_700_000_000_000_000_001, None, 0, 1], pyarrow.timestamp("ns", tz="Europe/Berlin")),
    "spelled": ["2026-11-01", "soon", None, "2026-11-02T10:00:00Z"],
    "epoch": pyarrow.array([1_700_000_000, None, 0, 1_700_000_000_000], pyarrow.int64()),
    "far": pyarrow.array([2**62, None, 0, 1], pyarrow.timestamp("ms")),
    "null": pyarrow.nulls(4),
    "deep": [{"a": {"b": [{"c": [1, 2]}, None]}}, None, {"a": None}, {"a": {"b": []}}],
}
write("kinds", pyarrow.table(kinds))
write("empty", table.slice(0, 0))

# One column each: the same stored numbers with another meaning.
for name, array in {
    "cents": pyarrow.array([decimal.Decimal("1.50"), decimal.Decimal("2.25")], pyarrow.decimal128(10, 2)),
    "euros": pyarrow.array([decimal.Decimal("150"), decimal.Decimal("225")], pyarrow.decimal128(10, 0)),
    "unsigned": pyarrow.array([2**32 - 1, 1], pyarrow.uint32()),
    "negative": pyarrow.array([-1, 1], pyarrow.int32()),
    "micros": pyarrow.array([5, 6], pyarrow.time64("us")),
    "nanos": pyarrow.array([5, 6], pyarrow.time64("ns")),
    "present": pyarrow.array([[1], [2, 3]], pyarrow.list_(pyarrow.field("element", pyarrow.int64(), nullable=False))),
    "absent": pyarrow.array([[1], [2, 3]], pyarrow.list_(pyarrow.field("element", pyarrow.int64()))),
    "split": pyarrow.array([[1, 2], [3]], pyarrow.list_(pyarrow.field("element", pyarrow.int64()))),
}.items():
    write(f"only-{name}", pyarrow.table({"x": array}))
write("brotli", compression="brotli")
write("long-list", pyarrow.table({"x": pyarrow.array([[0] * 3_000_000])}))
