package integration

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestNothingGrows works at full speed and looks, again and again while nothing is held and nobody waits, at what is there:
// keys and memory of the server, heap and goroutines of the process. It prints how they grow with the operations.
func TestNothingGrows(t *testing.T) {
	t.Parallel()
	d := scaled(t, 5*time.Second)
	t.Run("redis", func(t *testing.T) {
		run := measureLeaks(t, leakArgs{URL: ownServer(t)}, 2*d/3)
		run.print(t)
		require.Empty(t, run.growing())
	})
	t.Run("memory", func(t *testing.T) {
		run := measureLeaks(t, leakArgs{}, d/3)
		run.print(t)
		require.Empty(t, run.growing())
	})
}

// TestPlantedLeaksAreFound does the same with something of everything that stays.
func TestPlantedLeaksAreFound(t *testing.T) {
	t.Parallel()
	run := measureLeaks(t, leakArgs{URL: ownServer(t), Planted: true}, time.Second)
	run.print(t)
	for _, s := range leakSeries {
		if s.name != "scripts" {
			require.Contains(t, strings.Join(run.growing(), "\n"), s.name)
		}
	}
}

// ownServer starts one that keeps no log of slow calls, which would grow on a busy machine.
func ownServer(t *testing.T) string {
	return redistest.Start(t, redistest.Config("slowlog-log-slower-than -1")).URL()
}

// leakArgs describe a process that works at full speed.
type leakArgs struct {
	URL       string // of a server that nobody else uses; none: in memory
	Namespace backend.Namespace
	Rounds    int           // each ends with a look
	Round     time.Duration // of work
	Planted   bool          // each operation leaves something behind
}

// leakWarmUp is how many operations it takes until buffers and tables have their size.
const leakWarmUp = 2000

// A leakSample is what there is after so many operations.
type leakSample struct {
	Operations int64
	Keys       int64    // of the server, but for those of which there is one for all names
	Names      []string // of some of them
	Data       int64    // that is in the others, in bytes
	Memory     int64    // of the server, in bytes, without that for its connections
	Scripts    int64    // what the server's scripts use, in bytes
	Heap       int64    // in use, in bytes
	Goroutines int64
}

// leakSeries are what is measured. What grows by more than noise, from the first look to the last, leaks. Of the keys, the
// last result may be there or not; in the data are those who listen and wait; the server resizes its tables and its scripts
// leave garbage; the heap is as large as maps once had to be, and one connection more takes 1.4 MB; the queue's workers are
// started when they are first needed. None of that grows with the operations, so that a longer run finds a smaller leak.
var leakSeries = []struct {
	name  string
	noise float64
	of    func(s *leakSample) int64
}{
	{"keys", 2, func(s *leakSample) int64 { return s.Keys }},
	{"data", 2 << 10, func(s *leakSample) int64 { return s.Data }},
	{"memory", 256 << 10, func(s *leakSample) int64 { return s.Memory }},
	{"scripts", 1 << 20, func(s *leakSample) int64 { return s.Scripts }},
	{"heap", 3 << 20, func(s *leakSample) int64 { return s.Heap }},
	{"goroutines", loadHandlers, func(s *leakSample) int64 { return s.Goroutines }},
}

// A leakRun is what was seen, from the first look after the warm-up to the last.
type leakRun []leakSample

// measureLeaks works for about as long as is said, in a process of its own: other tests run in this one.
func measureLeaks(t *testing.T, args leakArgs, d time.Duration) leakRun {
	t.Helper()
	done := busily(t)
	defer done()
	args.Namespace = newNamespace(t)
	args.Rounds = 10
	if args.Round = d / 12; args.Round > 5*time.Second {
		args.Rounds, args.Round = int(d/(5*time.Second)), 5*time.Second
	}
	p := start(t, "leak", args)
	run := make(leakRun, args.Rounds)
	for i := range run {
		p.hear(&run[i])
	}
	return run
}

// growth gives by how much a series grows in one operation, and in all of them.
func (r leakRun) growth(of func(s *leakSample) int64) (slope, total float64) {
	x, y := make([]float64, len(r)), make([]float64, len(r))
	for i := range r {
		x[i], y[i] = float64(r[i].Operations), float64(of(&r[i]))
	}
	slope = leastSquares(x, y)
	return slope, slope * (x[len(x)-1] - x[0])
}

// growing names what grows by more than noise, the last look being above the first.
func (r leakRun) growing() (list []string) {
	first, last := &r[0], &r[len(r)-1]
	for _, s := range leakSeries {
		_, total := r.growth(s.of)
		if total > s.noise && s.of(last) > s.of(first) {
			list = append(list, fmt.Sprintf("%s: from %d to %d in %d operations %q",
				s.name, s.of(first), s.of(last), last.Operations-first.Operations, last.Names))
		}
	}
	return list
}

// print shows the slopes.
func (r leakRun) print(t *testing.T) {
	t.Helper()
	first, last := &r[0], &r[len(r)-1]
	t.Logf("%d operations, %d looks", last.Operations-first.Operations, len(r))
	for _, s := range leakSeries {
		if s.of(last) == 0 { // without a server
			continue
		}
		slope, total := r.growth(s.of)
		t.Logf("%10s: %d to %d, %+.2f for 10,000 operations, %+.1f in all", s.name, s.of(first), s.of(last), 1e4*slope, total)
	}
}

// leastSquares gives the slope of the line that is nearest to the points.
func leastSquares(x, y []float64) float64 {
	n, sumX, sumY := float64(len(x)), 0.0, 0.0
	for i := range x {
		sumX, sumY = sumX+x[i], sumY+y[i]
	}
	over, under := 0.0, 0.0
	for i := range x {
		dx := x[i] - sumX/n
		over += dx * (y[i] - sumY/n)
		under += dx * dx
	}
	if under == 0 {
		return 0
	}
	return over / under
}

func TestLeastSquares(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		x, y []float64
		want float64
	}{
		{[]float64{0, 1, 2}, []float64{5, 5, 5}, 0},
		{[]float64{0, 1, 2}, []float64{1, 3, 5}, 2},
		{[]float64{10, 30, 20}, []float64{5, -5, 0}, -0.5},
		{[]float64{0, 1, 2, 3}, []float64{0, 1, 1, 0}, 0},
		{[]float64{0, 2, 4}, []float64{0, 3, 3}, 0.75},
		{[]float64{1, 1}, []float64{0, 9}, 0},
	} {
		require.InDelta(t, c.want, leastSquares(c.x, c.y), 1e-12)
	}
}

// leakWorker works at full speed.
func leakWorker(w *worker) error {
	var args leakArgs
	if err := w.read(&args); err != nil {
		return err
	}
	var be backend.Backend = memory.New()
	workers := be
	s := sampler{ns: args.Namespace}
	if args.URL != "" {
		var err error
		if be, err = connect(args.URL, rueidis.CallTimeout(patience)); err != nil {
			return err
		}
		if workers, err = connect(args.URL, rueidis.CallTimeout(patience)); err != nil {
			return err
		}
		if s.cli, err = dialRaw(args.URL); err != nil {
			return err
		}
	}
	l, closeLoad, err := newLoad(args.Namespace, be, workers)
	if err != nil {
		return err
	}
	s.forget = l.forget
	if args.Planted {
		l.planted = s.plant
	}
	for begin := time.Now(); time.Since(begin) < 2*args.Round || l.done.Load() < leakWarmUp; { // what is made once is made now
		if err := l.run(args.Round); err != nil {
			return err
		}
	}
	for round := range args.Rounds {
		if err := l.run(args.Round); err != nil {
			return err
		}
		calm := time.Second
		if round == args.Rounds-1 {
			calm = patience / 2
		}
		if args.Planted { // it will not
			calm = 0
		}
		sample, err := s.look(calm)
		if err != nil {
			return err
		}
		sample.Operations = l.done.Load()
		w.tell(sample)
	}
	return closeLoad()
}

// A sampler looks at what is there.
type sampler struct {
	cli        *redisCLI // nil: there is no server
	ns         backend.Namespace
	forget     func() error
	goroutines int64 // at the first look
}

// plant leaves something of everything behind: a key, memory, and a goroutine that keeps it.
func (s *sampler) plant(n int64) error {
	const much = 16 << 10
	name := strconv.FormatInt(n, 10)
	_, err := s.cli.do("SET", "planted-"+name, strings.Repeat("x", much))
	if err == nil {
		_, err = s.cli.do("HSET", s.ns.Base()+"|planted", name, strings.Repeat("x", 128))
	}
	kept, never := make([]byte, much), make(chan struct{})
	go func() {
		<-never
		runtime.KeepAlive(kept)
	}()
	return err
}

// look waits, but not for longer than it takes to calm down, until what has run out is gone, and whoever was to end has ended.
func (s *sampler) look(calm time.Duration) (leakSample, error) {
	for begin := time.Now(); ; pause(context.Background(), 5*time.Millisecond) {
		if err := s.forget(); err != nil {
			return leakSample{}, err
		}
		now, err := s.count()
		if err != nil {
			return now, err
		}
		if s.goroutines == 0 {
			s.goroutines = now.Goroutines
		}
		calmed := now.Keys <= 1 && now.Goroutines <= s.goroutines+loadHandlers // the last result is forgotten with the next
		if calmed || time.Since(begin) > calm {
			return now, s.weigh(&now)
		}
	}
}

// count counts what is there.
func (s *sampler) count() (leakSample, error) {
	const few, many = 20, 50
	now := leakSample{Goroutines: int64(runtime.NumGoroutine())}
	if s.cli == nil {
		return now, nil
	}
	general := 0
	for cursor := "0"; ; { // which takes away what has run out
		page, err := s.cli.do("SCAN", cursor, "COUNT", "1000")
		if err != nil {
			return now, err
		}
		found, err := page.AsScanEntry()
		if err != nil {
			return now, err
		}
		for _, key := range found.Elements {
			switch {
			case s.general(key):
				general++
				size, err := s.cli.do("MEMORY", "USAGE", key, "SAMPLES", "0")
				if err != nil {
					return now, err
				}
				if bytes, err := size.AsInt64(); err == nil { // it is still there
					now.Data += bytes
				}
			case now.Keys < few:
				now.Names = append(now.Names, key)
				fallthrough
			default:
				now.Keys++
			}
		}
		if cursor = strconv.FormatUint(found.Cursor, 10); cursor == "0" {
			if general > many {
				err = fmt.Errorf("%d keys that are there once: %q", general, found.Elements)
			}
			return now, err
		}
	}
}

// general tells whether there is only one such key, however many names there are.
func (s *sampler) general(key string) bool {
	rest, ours := strings.CutPrefix(key, s.ns.Base()+"|")
	return ours && (!strings.Contains(rest, ":") || strings.HasSuffix(rest, ":jobs"))
}

// weigh measures the bytes.
func (s *sampler) weigh(now *leakSample) error {
	runtime.GC()
	runtime.GC() // what the first one let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	now.Heap = int64(m.HeapAlloc)
	if s.cli == nil {
		return nil
	}
	info, err := s.cli.do("INFO", "memory")
	if err != nil {
		return err
	}
	text, err := info.ToString()
	if err != nil {
		return err
	}
	fields := make(map[string]int64)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		fields[name], _ = strconv.ParseInt(value, 10, 64) // those that are no numbers are not needed
	}
	for _, name := range []string{"used_memory", "mem_clients_normal", "used_memory_lua"} {
		if _, ok := fields[name]; !ok {
			return errors.New("the server does not tell " + name)
		}
	}
	now.Memory, now.Scripts = fields["used_memory"]-fields["mem_clients_normal"], fields["used_memory_lua"]
	return nil
}
