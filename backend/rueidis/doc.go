// Package rueidis is the backend on Redis (6.2 or later) and Valkey: a single server, one behind Sentinels, or a
// Cluster.
//
//	be, err := rueidis.Open(ctx, "redis://localhost:6379")
//	defer be.Close()
//
// # How it calls the server
//
// Every method is one script call, or one command, and one round trip; the time that decides what has run out is the
// server's. Long lists are cut into slices, so that no call takes long. Scripts are sent once and then named by their
// hash; a server that lost them (a restart, SCRIPT FLUSH) is sent them again.
//
// Takes, returns and renewals of one namespace that wait at the same moment share a call, two of which may be under way.
// A lone caller waits for nobody, and none waits for a timer.
//
// A call is bounded by the context of its caller and by [CallTimeout]. Whoever's context ends leaves at once with its
// error. What was not sent by then is not sent; what the call turns out to have granted goes back, in the background. If
// a connection breaks, or no answer comes in time, the error is [backend.ErrUnavailable], and nobody knows whether the
// call was carried out: what a lost Take or Enter was granted is looked for, and given back, as soon as the server can be
// reached again. Nothing is sent twice by itself, but for what the server has refused to begin: a script that it does not
// know, and a slot of a Cluster that is moving.
//
// # Rights
//
// A user needs the keys and the channels of the namespace, and the commands that [ACLRules] lists:
//
//	ACL SETUSER app on >secret ~crawler|proxies* &crawler|proxies|* +eval +evalsha +get ...
//
// What is missing is named ([backend.ErrPermission]): commands by [Open], keys by the first call that needs them, channels
// by the first one that waits.
//
// # Cluster
//
// On a Cluster a [backend.Namespace] must set HashTag, so that its keys lie in one slot; one that does not gets
// [backend.ErrUnsupported] before anything is sent. While the slot of a namespace moves to another node its calls wait, for as
// long as a call may take ([CallTimeout]), and get [backend.ErrUnavailable] then, having done nothing; move large slots
// in less, or raise the bound.
//
// # Failover
//
// When a replica takes the place of its primary, behind Sentinels or in a Cluster, calls get [backend.ErrUnavailable] until
// the client knows the new one; leases, lines and tasks go on by themselves, if their TTL lasts longer than that: a lease that
// cannot be renewed ends for its holder in time. A primary that only falls silent is given up
// after [CallTimeout] at the latest. Replication is asynchronous: what the replica had not got is lost, for whoever was
// granted it as for whoever gave it back. Fences stay larger than all earlier ones if the servers' clocks are no further
// apart than the failover takes.
//
// # Others on the same keys
//
// Python processes (redis-allocator 0.7) and administrators may work on the same keys. Links, locks and cursors that
// make no sense are mended when a call comes upon them, or by Collect; no script is aborted by them. A key of a wrong type
// is [backend.ErrWrongType], and nothing has changed then.
package rueidis
