//! How many arenas the C library's allocator keeps, which no crate of ours has a call for.
//!
//! glibc gives threads arenas of their own, up to eight a core. Blocks of the cache are made by one
//! thread and freed by another, so every arena keeps holes that no other may fill: three times a
//! budget of 64 MiB can be resident for it.
//!
//! Its `unsafe` is sound because (a) the signature is that of glibc, and (b) the call takes numbers
//! only; it may come at any time and from any thread.

#![cfg_attr(
    all(target_os = "linux", target_env = "gnu", not(olivine_portable)),
    expect(unsafe_code, reason = "a call of the C library")
)]

/// Keeps this process to so many arenas, those there are included. Where the allocator is not glibc's,
/// nothing changes.
pub fn limit_malloc_arenas(most: u16) {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(olivine_portable)))]
    {
        const ARENA_MAX: std::ffi::c_int = -8;
        unsafe extern "C" {
            fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
        }
        // SAFETY: by (a) and (b). What it answers says only whether it took the value.
        let _taken = unsafe { mallopt(ARENA_MAX, most.into()) };
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu", not(olivine_portable))))]
    let _ = most;
}
