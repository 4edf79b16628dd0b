// Package stress tests the library as those use it who trust it: worker processes do mixed work on pools, bindings, locks
// and tasks of one server while they are killed and stopped, and perhaps the server is restarted; and everything that must
// hold is looked at from outside.
//
// [Run] is the whole of it, [Watch] only looks, at a pool that others use, and redisalloc-stress is both as a program. A
// program or test binary that calls Run calls [Work] first, because the workers are the same binary.
//
// What must hold:
//
//   - Ten times a second: a pool has its members, and its invariants hold (backend.CheckPool). What is locked has an end, an
//     exclusive name one holder, a semaphore no more units out than it has. Lines are in order and move. No task stands in two
//     places, or in one that its state denies, and the numbers of tasks that came and ended add up.
//   - At each use of a member or a lock: the fence is shown to a model of a store that refuses older ones. A holder whose lease
//     is valid and who is refused is one of two. For semaphores the model counts the units of those who are in.
//   - For each task: its handler shows its fence in the same way, and what it has done is compared with what became of the task
//     and what those were told who waited for it.
//   - In the end: every member is free, every task final, every name unlocked, the store has ended as many tasks as there
//     were, and no key without TTL is left but those that ARCHITECTURE.md names.
//   - No worker complains, and none dies of itself.
//
// All that is decided by chance is decided by the seed, each hand of each worker by a sequence of its own. How the machine
// interleaves it is not, so that the same seed makes the same trouble, but not to the microsecond.
package stress
