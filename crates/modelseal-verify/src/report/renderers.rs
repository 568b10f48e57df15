//! The report formats. To add one, write its file and name it in [`RENDERERS`].

use super::json::Json;
use super::render::Renderer;
use super::text::Text;

/// Every report format. The first one is the default.
pub const RENDERERS: [&dyn Renderer; 2] = [&Text, &Json];

/// The format with this name.
pub fn renderer(name: &str) -> Option<&'static dyn Renderer> {
    RENDERERS.into_iter().find(|renderer| renderer.name() == name)
}
