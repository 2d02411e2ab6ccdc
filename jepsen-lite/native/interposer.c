/*
 * Stands between a server process and its system calls (LD_PRELOAD): syncs that fail or take long,
 * writes into the data directory that fail or come short, and a wall clock that is wrong. What to
 * do is read from a file that the harness maps and changes while the process runs; all zero means
 * that nothing is changed. The monotonic clock is never touched.
 *
 * Layout of the control file, 64-bit words of this machine:
 *   0 sync delay in ms          1 errno of syncs           2 errno of writes
 *   3 1: every second failing write writes its first half instead
 *   4 which of the two clocks below is meant
 *   5..7 and 8..10: offset in ns, drift in ns per second, monotonic ns since which it drifts
 *   16 syncs delayed   17 syncs failed   18 writes failed   19 writes cut short
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define CONTROL_SIZE_BYTES 4096
enum { SYNC_DELAY_MS, SYNC_ERRNO, WRITE_ERRNO, IS_SHORT, CLOCK_SLOT, CLOCK_SLOTS };
enum { SYNCS_DELAYED = 16, SYNCS_FAILED, WRITES_FAILED, WRITES_SHORT };

static volatile int64_t *control;
static const char *data_directory;
static size_t data_directory_length;

#define REAL(name) ((__typeof__(&name))real_##name)
#define FIND(name)                                                             \
  do {                                                                         \
    if (real_##name == NULL) real_##name = dlsym(RTLD_NEXT, #name);            \
  } while (0)

static void *real_fsync, *real_fdatasync, *real_write, *real_pwrite64, *real_pwrite;
static void *real_writev, *real_pwritev64, *real_pwritev;
static void *real_clock_gettime, *real_gettimeofday, *real_time;

__attribute__((constructor)) static void begin(void) {
  FIND(clock_gettime);
  const char *path = getenv("JEPSEN_INTERPOSER");
  data_directory = getenv("JEPSEN_DATA_DIRECTORY");
  if (path == NULL || data_directory == NULL) return;
  data_directory_length = strlen(data_directory);
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) {
    perror("the interposer cannot open its control file");
    abort();
  }
  void *mapped = mmap(NULL, CONTROL_SIZE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (mapped == MAP_FAILED) {
    perror("the interposer cannot map its control file");
    abort();
  }
  control = mapped;
}

static int64_t word(int index) {
  return control == NULL ? 0 : __atomic_load_n(&control[index], __ATOMIC_ACQUIRE);
}

static void count(int index) { __atomic_fetch_add(&control[index], 1, __ATOMIC_RELAXED); }

/* -1 with errno: the sync is not to happen. */
static int before_sync(void) {
  int64_t delay_ms = word(SYNC_DELAY_MS);
  if (delay_ms > 0) {
    struct timespec left = {delay_ms / 1000, (delay_ms % 1000) * 1000000};
    count(SYNCS_DELAYED);
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
  }
  int64_t code = word(SYNC_ERRNO);
  if (code == 0) return 0;
  count(SYNCS_FAILED);
  errno = (int)code;
  return -1;
}

int fsync(int file) {
  FIND(fsync);
  return before_sync() < 0 ? -1 : REAL(fsync)(file);
}

int fdatasync(int file) {
  FIND(fdatasync);
  return before_sync() < 0 ? -1 : REAL(fdatasync)(file);
}

static int is_data(int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path);
  return length > (ssize_t)data_directory_length &&
         memcmp(path, data_directory, data_directory_length) == 0 &&
         path[data_directory_length] == '/';
}

/* 0: as always; -1 with errno: fails; 1: only the first half is to be written. */
static int before_write(int file, size_t size) {
  int64_t code = word(WRITE_ERRNO);
  if (code == 0 || !is_data(file)) return 0;
  if (word(IS_SHORT) != 0 && size > 1) {
    int64_t so_far = word(WRITES_FAILED) + word(WRITES_SHORT);
    if (so_far % 2 == 0) {
      count(WRITES_SHORT);
      return 1;
    }
  }
  count(WRITES_FAILED);
  errno = (int)code;
  return -1;
}

ssize_t write(int file, const void *bytes, size_t size) {
  FIND(write);
  int what = before_write(file, size);
  return what < 0 ? -1 : REAL(write)(file, bytes, what == 1 ? size / 2 : size);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) {
  FIND(pwrite64);
  int what = before_write(file, size);
  return what < 0 ? -1 : REAL(pwrite64)(file, bytes, what == 1 ? size / 2 : size, at);
}

ssize_t pwrite(int file, const void *bytes, size_t size, off_t at) {
  FIND(pwrite);
  int what = before_write(file, size);
  return what < 0 ? -1 : REAL(pwrite)(file, bytes, what == 1 ? size / 2 : size, at);
}

/* A vector that comes short: half of its first part. */
ssize_t writev(int file, const struct iovec *parts, int part_count) {
  FIND(writev);
  FIND(write);
  int what = part_count < 1 ? 0 : before_write(file, parts[0].iov_len);
  if (what < 0) return -1;
  if (what == 1) return REAL(write)(file, parts[0].iov_base, parts[0].iov_len / 2);
  return REAL(writev)(file, parts, part_count);
}

ssize_t pwritev64(int file, const struct iovec *parts, int part_count, off64_t at) {
  FIND(pwritev64);
  FIND(pwrite64);
  int what = part_count < 1 ? 0 : before_write(file, parts[0].iov_len);
  if (what < 0) return -1;
  if (what == 1) return REAL(pwrite64)(file, parts[0].iov_base, parts[0].iov_len / 2, at);
  return REAL(pwritev64)(file, parts, part_count, at);
}

ssize_t pwritev(int file, const struct iovec *parts, int part_count, off_t at) {
  FIND(pwritev);
  FIND(pwrite);
  int what = part_count < 1 ? 0 : before_write(file, parts[0].iov_len);
  if (what < 0) return -1;
  if (what == 1) return REAL(pwrite)(file, parts[0].iov_base, parts[0].iov_len / 2, at);
  return REAL(pwritev)(file, parts, part_count, at);
}

/* What is to be added to the wall clock now. */
static int64_t wall_shift_ns(void) {
  if (control == NULL) return 0;
  int slot = CLOCK_SLOTS + 3 * (int)word(CLOCK_SLOT);
  int64_t shift_ns = word(slot), drift_ns_per_s = word(slot + 1);
  if (drift_ns_per_s == 0) return shift_ns;
  struct timespec now;
  REAL(clock_gettime)(CLOCK_MONOTONIC, &now);
  int64_t since_ns = now.tv_sec * 1000000000LL + now.tv_nsec - word(slot + 2);
  return shift_ns + since_ns / 1000 * drift_ns_per_s / 1000000;
}

static int64_t wall_ns(void) {
  struct timespec now;
  REAL(clock_gettime)(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec + wall_shift_ns();
}

int clock_gettime(clockid_t id, struct timespec *to) {
  FIND(clock_gettime);
  int is_wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
  int result = REAL(clock_gettime)(id, to);
  if (!is_wall || result != 0 || wall_shift_ns() == 0) return result;
  int64_t ns = wall_ns();
  to->tv_sec = ns / 1000000000LL;
  to->tv_nsec = ns % 1000000000LL;
  return 0;
}

int gettimeofday(struct timeval *restrict to, void *restrict zone) {
  FIND(gettimeofday);
  FIND(clock_gettime);
  if (wall_shift_ns() == 0) {
    return ((int (*)(struct timeval *, void *))real_gettimeofday)(to, zone);
  }
  int64_t ns = wall_ns();
  to->tv_sec = ns / 1000000000LL;
  to->tv_usec = ns % 1000000000LL / 1000;
  return 0;
}

time_t time(time_t *to) {
  FIND(time);
  FIND(clock_gettime);
  time_t now = wall_shift_ns() == 0 ? REAL(time)(NULL) : (time_t)(wall_ns() / 1000000000LL);
  if (to != NULL) *to = now;
  return now;
}
