/* The least a real-time process of this console can be, in C: it writes edges into the simulated console's memory at
 * given times, or answers presses with a step. No safety, no link, no scan: a floor for the benchmarks, never a driver.
 *
 *   edges WORLD BYTES LEVEL CHANGED EDGES NEEDLE NEEDLE_CHANGED STEP DIRECTION strokes SHORTEST_NS < actions
 *   edges ...                                                                   presses PERIOD_NS TRIGGER_A TRIGGER_B
 *
 * The numbers are the places of 64-bit cells (`drivers.sim.world_table`). An action is a line `DUE_NS LINE LEVEL`, the
 * due time from the start; LINE -1 is a step, LEVEL its direction. Each action's lateness, read off the clock once it
 * is written, goes to standard output in ns. `presses` ends by SIGTERM. Exit code 2: not granted SCHED_FIFO or memory.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { PRIORITY = 50, STEP_HIGH_NS = 2000, LEAD_NS = 1000000, ACTIONS_MOST = 1000000 };

typedef struct { int64_t due_ns; int line, level; } action;

static volatile int64_t *cells;
static int level_at, changed_at, edges_at, needle_at, needle_changed_at, step_line, direction_line;

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void sleep_until(int64_t due_ns) {
  struct timespec due = {due_ns / 1000000000LL, due_ns % 1000000000LL};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) != 0) {}
}

static void edge(int line, int level) {
  if (cells[level_at + line] == level) return;
  cells[changed_at + line] = now_ns();
  cells[edges_at + line] += 1;
  cells[level_at + line] = level;
}

/* The needle follows the rising edge, as in `World.drive`; the pulse is as wide as `RealtimeLines` makes it. */
static void step(int inward) {
  edge(direction_line, inward);
  edge(step_line, 1);
  int64_t high_ns = now_ns();
  cells[needle_changed_at] = high_ns;
  cells[needle_at] += inward ? 1 : -1;
  while (now_ns() < high_ns + STEP_HIGH_NS) {}
  edge(step_line, 0);
}

static int strokes(int64_t shortest_ns) {
  action *actions = calloc(ACTIONS_MOST, sizeof *actions);
  int64_t *late_ns = calloc(ACTIONS_MOST, sizeof *late_ns);
  int count = 0;
  if (!actions || !late_ns) return 1;
  while (count < ACTIONS_MOST &&
         scanf("%" SCNd64 " %d %d", &actions[count].due_ns, &actions[count].line, &actions[count].level) == 3) count++;
  int64_t base_ns = now_ns() + LEAD_NS;
  for (int i = 0; i < count; i++) {
    int64_t due_ns = base_ns + actions[i].due_ns;
    sleep_until(due_ns);
    if (actions[i].line < 0) step(actions[i].level);
    else edge(actions[i].line, actions[i].level);
    int64_t done_ns = now_ns();
    late_ns[i] = done_ns - due_ns;
    /* As in the scan: what came too late does not make the next step late. */
    if (actions[i].line < 0 && i + 1 < count) {
      int64_t missing_ns = done_ns + shortest_ns - base_ns - actions[i + 1].due_ns;
      if (actions[i + 1].line < 0 && missing_ns > 0) base_ns += missing_ns;
    }
  }
  for (int i = 0; i < count; i++) printf("%" PRId64 "\n", late_ns[i]);
  return 0;
}

static void presses(int64_t period_ns, int a, int b) {
  int64_t due_ns = now_ns();
  int out = 0;
  edge(direction_line, 1);
  puts("ready");
  fflush(stdout);
  for (;;) {
    due_ns += period_ns;
    sleep_until(due_ns);
    int pressed = cells[level_at + a] == 0 && cells[level_at + b] != 0;
    if (pressed != out) {
      step(pressed);
      out = pressed;
    }
    int64_t late_ns = now_ns() - due_ns;
    if (late_ns > period_ns) due_ns += late_ns / period_ns * period_ns;
  }
}

int main(int count, char **argument) {
  if (count < 12) return 1;
  /* It ends with the benchmark whatever happens. */
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  int world = open(argument[1], O_RDWR | O_CLOEXEC);
  if (world < 0) { perror(argument[1]); return 1; }
  cells = mmap(NULL, (size_t)atol(argument[2]), PROT_READ | PROT_WRITE, MAP_SHARED, world, 0);
  if (cells == MAP_FAILED) { perror("mmap"); return 1; }
  level_at = atoi(argument[3]);
  changed_at = atoi(argument[4]);
  edges_at = atoi(argument[5]);
  needle_at = atoi(argument[6]);
  needle_changed_at = atoi(argument[7]);
  step_line = atoi(argument[8]);
  direction_line = atoi(argument[9]);
  struct sched_param priority = {.sched_priority = PRIORITY};
  if (sched_setscheduler(0, SCHED_FIFO, &priority) != 0) { perror("SCHED_FIFO"); return 2; }
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) { perror("mlockall"); return 2; }
  if (strcmp(argument[10], "strokes") == 0) return strokes(atoll(argument[11]));
  if (strcmp(argument[10], "presses") == 0 && count == 14) presses(atoll(argument[11]), atoi(argument[12]), atoi(argument[13]));
  return 1;
}
