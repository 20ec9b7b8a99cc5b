//! The numbers of faults: one table, stable for ever. A number that is no longer used is never given to another fault.

use super::Severity;

macro_rules! codes {
    ($($name:ident $id:literal $meaning:literal;)+) => {
        /// What kind of fault it is. `E01` files and syntax, `E02` names and policy, `E03` values; `W` warns only.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the table says what each means, see Code::meaning")]
        pub enum Code { $($name),+ }

        impl Code {
            /// All of them, in the order of the table.
            pub const ALL: &[Code] = &[$(Code::$name),+];

            /// `E0105`
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Code::$name => $id),+ }
            }

            /// What it means, in one line.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$name => $meaning),+ }
            }
        }
    };
}

codes! {
    NoFile "E0101" "no configuration file was found";
    Unreadable "E0102" "a file cannot be read";
    Syntax "E0103" "the text is not TOML";
    Twice "E0104" "a key is set twice";
    UnknownKey "E0105" "a key that Cardea does not know";
    NotBuilt "E0106" "something that is not built yet in this version";
    Missing "E0107" "a key that is needed is missing";
    WrongKind "E0108" "a value of another kind than the key takes";
    Include "E0109" "an include that cannot be followed";
    UnknownVariable "E0111" "an environment variable that names no key";
    SecretMissing "E0112" "a secret that cannot be read";
    SecretExposed "E0113" "a key file that others than its owner can read";
    DuplicateName "E0201" "the same name twice";
    BuiltInRole "E0202" "a role with the name of a built-in one";
    SameAddress "E0203" "two routes on the same host and path";
    PortalHost "E0204" "a route on the portal's host";
    TwoTenantsOnHost "E0205" "two tenants on one host";
    NoName "E0206" "a route whose name cannot be taken from its host";
    RulesAndOwn "E0207" "a route with rules and a policy of its own";
    NoWho "E0208" "a rule that lets nobody in";
    PublicAndWho "E0209" "a public rule that also asks for something";
    Unqualified "E0210" "a name that needs its tenant on a route without one";
    UnknownNetwork "E0211" "a network that is not defined";
    UnknownRoute "E0212" "a landing that is no route";
    Methods "E0213" "methods that are said twice or in the wrong place";
    OutsideTenant "E0215" "a place outside the tenant";
    RoleScope "E0216" "a scope that such a role cannot have";
    ReservedPath "E0217" "a path that Cardea answers itself";
    OwnAddress "E0218" "a route that leads back to Cardea";
    BadValue "E0301" "a value that cannot be read";
    OutOfRange "E0302" "a value that is too small or too large";
    BeyondLoopback "E0303" "a listener that would be open to the network without TLS";
    TrustsEverybody "E0304" "trusted proxies that include nearly everybody";
    PublicUrl "E0305" "a public address that browsers cannot use safely";
    Upstream "E0306" "an upstream address that cannot be used";
    Header "E0307" "a header that cannot carry an identity";
    MasterKey "E0308" "a master key that is not 32 bytes in base64";
    Bootstrap "E0309" "a first administrator that cannot be created";
    Contradiction "E0310" "two values that contradict each other";
    Version "E0311" "a file for another version of Cardea";
    Certificate "E0312" "a certificate or a key that cannot be used";
    PortalUncovered "E0313" "a portal that no certificate covers";
    HeaderEdit "E0314" "a header that a route may not change";
    SecretLiteral "W0110" "a secret written in the file";
    UnknownName "W0214" "a name in a policy that the file does not define";
    NeverMatches "W0307" "a rule that can never match";
    OpenOps "W0308" "health and metrics open to the network";
    LocalName "W0309" "a .localhost address on a listener that others can reach";
    PlainHost "W0310" "a route that browsers reach over plain HTTP";
    Uncovered "W0311" "a host that no certificate covers";
    RunsOut "W0312" "a certificate that runs out soon";
    RanOut "W0313" "a certificate that is not in force";
}

impl Code {
    /// Whether it refuses the configuration.
    #[must_use]
    pub fn severity(self) -> Severity {
        if self.id().starts_with('E') { Severity::Error } else { Severity::Warning }
    }

    /// Whether a key may be written where it is not seen: misspelt, in a part of the text or in a file that cannot be read.
    pub(super) const fn hides_keys(self) -> bool {
        matches!(
            self,
            Code::Unreadable
                | Code::Syntax
                | Code::Twice
                | Code::UnknownKey
                | Code::NotBuilt
                | Code::WrongKind
                | Code::Include
                | Code::UnknownVariable
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_given_once() {
        let mut ids: Vec<_> = Code::ALL.iter().map(|code| code.id()).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for code in Code::ALL {
            assert!(code.id().len() == 5 && !code.meaning().ends_with('.'), "{}", code.id());
        }
    }
}
