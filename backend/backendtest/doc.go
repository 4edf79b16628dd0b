// Package backendtest runs the contract of [backend.Backend] against an implementation, the way testing/fstest does
// it for file systems.
//
// [Run] runs all cases, each as a subtest with a fresh namespace, so that they can share a live server. The prefix of
// such a namespace has "backendtest-" in it, by which what was left behind can be found and removed. [RunBubble] does
// the same under testing/synctest, for implementations that read time through the standard library alone. [RunRoles] is for
// those that implement some roles only. [Together] lets several connections to one store pass as one backend.
//
// [Replay] replays recordings of the Python library redis-allocator 0.7, whose processes can work on the same keys.
//
// A case is told by the sentence of the contract that it checks; [Cases] lists them. They run against [TB], a part of
// testing.TB, so that a test can also prove that a case fails where it should.
package backendtest
