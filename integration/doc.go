// Package integration tests the library from outside against a real server: the one at REDIS_URL, or a
// redis-server or valkey-server on PATH that the tests start on a free port, or else one in a container. A
// missing server fails the tests, it does not skip them.
//
// INTEGRATION_SERVER=container asks for the container whatever else there is. Its image is REDIS_IMAGE or,
// where that is not set, one built from this machine's own server. Tests that stop and restart a server of
// their own do that with the program on PATH in any case. make test-containers runs what is meant for containers.
//
// TestTopology... are about what is more than one plain server: a Cluster that is resharded and fails over, a primary behind
// Sentinels, TLS, a server without memory. Of the contract they take a part of the cases, another one each time; with
// INTEGRATION_SECONDS they take all.
//
// INTEGRATION_SECONDS is for how long each of the tests goes on that could do so for ever: leaks, processes that crash, tasks,
// histories of locks, hand-overs, bad weather, garbage. Without it they take some seconds each, which is a look; 60 and
// more is a search. From 20 on five times as many holders fall into black holes. INTEGRATION_SEED repeats what the histories
// print as their seed, as far as processes and networks can be made to do the same again.
//
// It is a module of its own, so that what only these tests need stays out of an importer's go.sum.
package integration
