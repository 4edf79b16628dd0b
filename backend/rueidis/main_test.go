package rueidis

import (
	flags "flag"
	"runtime"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestMain(m *testing.M) {
	flags.Parse()
	if flags.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) { // not set by hand
		_ = flags.Set("test.parallel", "6") // most of these tests wait for the server's clock most of the time
	}
	goleak.VerifyTestMain(redistest.Wrap(m),
		// The client's, when it tried whether a server is a Cluster: it sleeps for up to a second and does no more.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}
