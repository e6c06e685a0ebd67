"""The C leaves of the core and scripted faults, opened up for tests. Nothing else uses this module."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from fastnet_c.sockaddr cimport (
    address_from_python, address_to_python, sockaddr, sockaddr_storage, socklen_t,
)
from fastnet_c.timers cimport fn_heap, fn_heap_free, fn_heap_pop, fn_heap_push, fn_heap_rebuild

cdef extern from "csrc/syscalls.h":
    cdef struct iovec:
        void *iov_base
        size_t iov_len
    ctypedef struct fn_fault:
        int err
        long cap, skip, count
        unsigned char active
    enum:
        FN_RECV, FN_SEND, FN_SENDMSG, FN_ACCEPT4, FN_OPEN_SPARE, FN_EPOLL_WAIT, FN_FAULT_COUNT

cdef extern from "csrc/ring.h":
    ctypedef struct fn_ring:
        size_t cap, head, len
    int fn_ring_put(fn_ring *r, const char *data, size_t n) noexcept
    int fn_ring_peek(const fn_ring *r, size_t skip, size_t n, iovec *iov) noexcept
    void fn_ring_consume(fn_ring *r, size_t n) noexcept
    void fn_ring_free(fn_ring *r) noexcept

cdef extern from *:
    """
    #ifdef FASTNET_FAULTS
    #define FN_HAVE_FAULTS 1
    #else
    #define FN_HAVE_FAULTS 0
    static fn_fault *fn_faults(void) { return NULL; }
    #endif
    """
    bint FN_HAVE_FAULTS
    fn_fault *fn_faults() noexcept

HAVE_FAULTS = bool(FN_HAVE_FAULTS)

_CALLS = {
    "recv": FN_RECV, "send": FN_SEND, "sendmsg": FN_SENDMSG, "accept4": FN_ACCEPT4,
    "open_spare": FN_OPEN_SPARE, "epoll_wait": FN_EPOLL_WAIT,
}


def faults_set(name, *, int errno=0, long cap=0, long skip=0, long count=-1):
    """Script a system call of the core: after `skip` calls that pass, `count` calls (-1: all) fail with errno.

    With errno 0 they have their length capped at `cap` bytes instead. A new rule replaces the old one of that call.
    """
    cdef fn_fault *fault
    if not HAVE_FAULTS:
        raise RuntimeError("this build has no scripted faults: build with FASTNET_BUILD=faults")
    if name not in _CALLS:
        raise ValueError(f"unknown call {name!r}: one of {', '.join(_CALLS)}")
    if errno == 0 and cap <= 0:
        raise ValueError("give errno, or cap in bytes")
    fault = &fn_faults()[<int>_CALLS[name]]
    fault.err, fault.cap, fault.skip, fault.count = errno, cap, skip, count
    fault.active = 1


def faults_clear():
    """Forget all rules."""
    cdef fn_fault *faults = fn_faults()
    if faults is not NULL:
        memset(faults, 0, FN_FAULT_COUNT * sizeof(fn_fault))


cdef class Ring:
    """csrc/ring.h."""
    cdef fn_ring ring

    def __dealloc__(self):
        fn_ring_free(&self.ring)

    def put(self, bytes data):
        """Append."""
        if fn_ring_put(&self.ring, data, len(data)) < 0:
            raise MemoryError

    def peek(self, size_t skip, size_t n):
        """The iovecs of the n bytes after the first `skip`: a list of bytes, 0 to 2 long."""
        cdef iovec iov[2]
        cdef int i
        if skip + n > self.ring.len:
            raise ValueError(f"{skip} + {n} bytes of {self.ring.len}")
        return [(<char *>iov[i].iov_base)[:iov[i].iov_len] for i in range(fn_ring_peek(&self.ring, skip, n, iov))]

    def consume(self, size_t n):
        """Drop n bytes from the front."""
        if n > self.ring.len:
            raise ValueError(f"{n} bytes of {self.ring.len}")
        fn_ring_consume(&self.ring, n)

    def __len__(self):
        return self.ring.len

    @property
    def capacity(self):
        """Bytes allocated: 0 or a power of two."""
        return self.ring.cap


cdef class Heap:
    """csrc/heap.h."""
    cdef fn_heap heap

    def __dealloc__(self):
        fn_heap_free(&self.heap)

    def push(self, double when, uint64_t seq, uint32_t slot):
        """Add an entry."""
        if fn_heap_push(&self.heap, when, seq, slot) < 0:
            raise MemoryError

    def pop(self):
        """Take the least entry out: (when, seq, slot)."""
        if not self.heap.count:
            raise IndexError("the heap is empty")
        least = fn_heap_pop(&self.heap)
        return (least.when, least.seq, least.slot)

    def drop(self, slots):
        """Drop the entries of these slots and rebuild, as TimerQueue does with cancelled timers."""
        cdef size_t i, kept = 0
        for i in range(self.heap.count):
            if self.heap.items[i].slot not in slots:
                self.heap.items[kept] = self.heap.items[i]
                kept += 1
        self.heap.count = kept
        fn_heap_rebuild(&self.heap)

    def __len__(self):
        return self.heap.count


def address_round_trip(int family, address):
    """An address to its C form and back: (address, length of the C form in bytes)."""
    cdef sockaddr_storage storage
    cdef socklen_t addr_len = 0
    address_from_python(family, address, &storage, &addr_len)
    return address_to_python(<sockaddr *>&storage, addr_len), addr_len


def address_bytes(int family, address):
    """The C form of an address, as bytes."""
    cdef sockaddr_storage storage
    cdef socklen_t addr_len = 0
    address_from_python(family, address, &storage, &addr_len)
    return (<char *>&storage)[:addr_len]


def address_parse(bytes raw):
    """The Python form of a C address."""
    cdef const char *data = raw
    return address_to_python(<const sockaddr *>data, <socklen_t>len(raw))
