//! The stylesheet, the script and the mark, compiled in.
//!
//! Each name carries a hash of the content, so browsers may keep a file for ever and still meet a new one after an
//! upgrade. The hash only has to change with the content; nothing trusts it.

use std::sync::LazyLock;

/// A file that pages load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// Value of the `Content-Type` header.
    pub content_type: &'static str,
    /// The file itself.
    pub bytes: &'static [u8],
}

/// Value of the `Cache-Control` header for every asset.
pub const CACHE_CONTROL: &str = "public, max-age=31536000, immutable";

/// Where the portal serves assets; the `asset_base` of its pages.
pub const PORTAL_BASE: &str = "/assets";

/// Where the gate serves assets on the hosts of apps; the `asset_base` of pages shown there.
pub const ROUTE_BASE: &str = "/.cardea/assets";

struct Named {
    name: String,
    asset: Asset,
}

impl Named {
    fn new(stem: &str, extension: &str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let name = format!("{stem}-{:016x}.{extension}", fingerprint(bytes));
        Self { name, asset: Asset { content_type, bytes } }
    }
}

static CSS: LazyLock<Named> = LazyLock::new(|| {
    Named::new("cardea", "css", "text/css; charset=utf-8", include_bytes!("assets/cardea.css"))
});
static SCRIPT: LazyLock<Named> = LazyLock::new(|| {
    Named::new("cardea", "js", "text/javascript; charset=utf-8", include_bytes!("assets/cardea.js"))
});
static MARK: LazyLock<Named> =
    LazyLock::new(|| Named::new("hinge", "svg", "image/svg+xml", include_bytes!("assets/hinge.svg")));

/// Finds an asset by its address on either kind of host, or by its bare name.
#[must_use]
pub fn find(path: &str) -> Option<Asset> {
    let name = [PORTAL_BASE, ROUTE_BASE]
        .iter()
        .find_map(|base| path.strip_prefix(base)?.strip_prefix('/'))
        .unwrap_or(path);
    [&CSS, &SCRIPT, &MARK].into_iter().find(|named| named.name == name).map(|named| named.asset)
}

/// Name of the stylesheet.
#[must_use]
pub fn css_name() -> &'static str {
    &CSS.name
}

/// Name of the optional script.
#[must_use]
pub fn script_name() -> &'static str {
    &SCRIPT.name
}

/// Name of the mark that browsers show in a tab.
#[must_use]
pub fn mark_name() -> &'static str {
    &MARK.name
}

/// FNV-1a: the same on every node and in every build, which the hasher of the standard library does not promise.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
