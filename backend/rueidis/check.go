package rueidis

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/luascript"
)

// The oldest server that has all commands: SMISMEMBER and PXAT came with Redis 6.2.
const oldestMajor, oldestMinor = 6, 2

// commands are those that a user has to be allowed, besides SUBSCRIBE and, for [backend.Durability], WAIT: what the scripts
// call, and what calls them.
var commands = []string{
	"eval", "evalsha", "time", "get", "mget", "exists", "pttl", "set", "mset", "psetex", "del", "unlink", "pexpire",
	"pexpireat", "persist", "hget", "hmget", "hgetall", "hkeys", "hlen", "hscan", "hrandfield", "hset", "hdel", "zadd",
	"zrem", "zremrangebyscore", "zcard", "zcount", "zrank", "zscore", "zmscore", "zrange", "zrangebyscore", "scard",
	"smismember", "sscan", "srem", "sadd", "publish", "sismember", "zpopmin", "hincrby", "llen", "lrange", "lpos", "lpop",
	"lpush", "rpush",
}

// ACLRules gives the rules that a user needs for all that the backend does in some namespaces, as ACL SETUSER takes
// them: the namespaces' keys and channels, and the commands. [backend.Values.Scan], for administrators, needs
// "+scan" besides, and [Tracking] "+client|tracking +client|caching +multi +exec"; a Cluster "+cluster", and Sentinels rules
// of their own. "+wait", which is among them, is for [backend.Durability] alone.
func ACLRules(namespaces ...backend.Namespace) []string {
	var all []string
	for _, ns := range namespaces {
		all = append(all, strings.Fields(rules(ns))...)
	}
	for _, c := range commands {
		all = append(all, "+"+c)
	}
	return append(all, "+ping", "+subscribe", "+unsubscribe", "+wait")
}

// check finds out whether the server can be reached, is new enough, and lets the user do what has to be done.
func (b *Backend) check(ctx context.Context) error {
	_, err := await(ctx, b, func(ctx context.Context) (struct{}, error) {
		if err := b.ping(ctx); err != nil {
			return struct{}{}, err
		}
		if err := b.checkVersion(ctx); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, b.checkCommands(ctx)
	})
	return err
}

// ping needs an answer, but no right to it.
func (b *Backend) ping(ctx context.Context) error {
	err := b.client.Do(ctx, b.client.B().Ping().Build()).Error()
	if reply, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(reply.Error(), "NOPERM") {
		return nil
	}
	return err
}

// checkVersion asks as HELLO does, which every user may, or else as INFO. A server that tells neither is believed in.
func (b *Backend) checkVersion(ctx context.Context) error {
	server, version := "", ""
	hello := b.client.Do(ctx, b.client.B().Arbitrary("HELLO").Build())
	switch fields, err := hello.AsMap(); {
	case err == nil:
		name, number := fields["server"], fields["version"]
		server, _ = name.ToString()
		version, _ = number.ToString()
	case hello.NonRedisError() != nil:
		return hello.NonRedisError()
	default:
		info := b.client.Do(ctx, b.client.B().Info().Section("server").Build())
		if err := info.NonRedisError(); err != nil {
			return err
		}
		text, _ := info.ToString()
		server, version = parseInfo(text)
	}
	if server != "redis" || !older(version) {
		return nil
	}
	return fmt.Errorf("%w: the server is Redis %s, which is older than %d.%d",
		backend.ErrUnsupported, version, oldestMajor, oldestMinor)
}

var infoVersion = regexp.MustCompile(`(?m)^(redis|valkey)_version:([0-9.]+)`)

// parseInfo reads the reply of INFO. Valkey also names the version of Redis that it resembles.
func parseInfo(text string) (server, version string) {
	for _, m := range infoVersion.FindAllStringSubmatch(text, -1) {
		if server == "" || m[1] == "valkey" {
			server, version = m[1], m[2]
		}
	}
	return server, version
}

// older reports whether a version is known to be too old.
func older(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (major < oldestMajor || major == oldestMajor && minor < oldestMinor)
}

// checkCommands runs probe.lua, and looks whether EVALSHA is refused, too.
func (b *Backend) checkCommands(ctx context.Context) error {
	probe := backend.ProcessID() + "|probe|" + b.process
	build := b.client.B()
	replies := b.client.DoMulti(ctx,
		build.Eval().Script(luascript.Probe).Numkeys(0).Arg(probe, probe).Build(),
		build.Evalsha().Sha1(strings.Repeat("0", 40)).Numkeys(0).Build())
	var denied []string
	for i, r := range replies {
		err := r.NonRedisError()
		if err == nil && i == 0 {
			denied, err = r.AsStrSlice()
		} else if err == nil {
			err = r.Error()
		}
		reply, ok := rueidis.IsRedisErr(err)
		switch {
		case err == nil, ok && reply.IsNoScript():
			continue
		case !ok:
			return err
		}
		m := deniedCommand.FindStringSubmatch(reply.Error())
		if m == nil {
			return err
		}
		denied = append(denied, strings.ToUpper(m[1]))
	}
	if len(denied) == 0 {
		return nil
	}
	plus := make([]string, len(denied))
	for i, c := range denied {
		plus[i] = "+" + strings.ToLower(c)
	}
	return fmt.Errorf("%w: the user may not call %s; grant %s",
		backend.ErrPermission, strings.Join(denied, ", "), strings.Join(plus, " "))
}

// deniedCommand finds the name in what a server answers who refuses a command outside a script.
var deniedCommand = regexp.MustCompile(`no permissions to run the '([a-z|]+)' command`)
