// Counts what the program asks of malloc, by standing in front of it.
//
// The functions of glibc's allocator are defined here again and pass on to glibc's own (`__libc_…`), so everything in the
// process is counted: Swift's objects and arrays, the standard library, C. `free` is not counted.
#ifndef SYNOD_ALLOCATIONS_H
#define SYNOD_ALLOCATIONS_H

#include <stdint.h>

/// Requests of the calling thread since it began.
uint64_t synod_allocations_of_thread(void);

/// Requests of all threads while counting all is on.
uint64_t synod_allocations_of_all(void);

/// Switches the count of all threads on or off: it costs each request an atomic addition.
void synod_allocations_count_all(int on);

#endif
