//! The program: reads the command line, does what it says, ends with its exit code.

use std::process::ExitCode;

/// The system's allocator gives memory back and asks for it again with almost every request on the threads of the data plane;
/// this one keeps it (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cardea::cli::main()
}
