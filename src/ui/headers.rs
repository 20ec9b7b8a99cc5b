//! The header fields that go with our own pages, on whatever host they are shown.
//!
//! Pairs of text, so that whoever answers, with whatever library, sends the same ones. Names are in lower case.

/// A header field: name and value.
pub type Field = (&'static str, &'static str);

/// Nothing inline, nothing from elsewhere, no frame around us, forms to this host only.
pub const CONTENT_SECURITY_POLICY: Field = (
    "content-security-policy",
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; \
     trusted-types cardea",
);

/// What is answered about somebody is nobody else's, and not for later.
pub const NO_STORE: Field = ("cache-control", "no-store");

/// For answers whose address holds a secret: the next site must not see it.
pub const NO_REFERRER: Field = ("referrer-policy", "no-referrer");

/// Only over TLS: browsers must not come without it again.
pub const STRICT_TRANSPORT: Field = ("strict-transport-security", "max-age=31536000");

/// Every page.
pub const PAGE: [Field; 8] = [
    CONTENT_SECURITY_POLICY,
    ("content-type", "text/html; charset=utf-8"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), display-capture=(), \
         geolocation=(), microphone=(), payment=(), usb=()",
    ),
    ("referrer-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    NO_STORE,
];

/// Answers for programs: JSON, and answers without a body. Their type and whether they may be kept come besides.
pub const DATA: [Field; 4] = [
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
];

/// Files that pages load; their type comes besides.
pub const ASSET: [Field; 3] = [
    ("cache-control", super::assets::CACHE_CONTROL),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sess_14_every_page_has_every_field_once() {
        for name in [
            "content-security-policy",
            "cross-origin-opener-policy",
            "referrer-policy",
            "x-content-type-options",
            "cache-control",
        ] {
            assert_eq!(PAGE.iter().filter(|(field, _)| *field == name).count(), 1, "{name}");
        }
        let (_, policy) = CONTENT_SECURITY_POLICY;
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe") && !policy.contains("data:") && !policy.contains("  "));
    }
}
