//! What stores write as XML: lists, and why they refuse.

use std::borrow::Cow;

use quick_xml::escape::unescape;

/// The text of the first element of this name, if it has nothing else.
pub(super) fn text_of<'a>(xml: &'a str, element: &str) -> Option<Cow<'a, str>> {
    let (_, text) = xml.split_once(&format!("<{element}>"))?;
    unescape(text.split_once(&format!("</{element}>"))?.0).ok()
}
