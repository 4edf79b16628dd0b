package memory_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
)

var benchSpace = backend.Namespace{Prefix: "bench", Suffix: "tasks"}

func benchFetch() backend.FetchRequest {
	return backend.FetchRequest{
		Namespace: benchSpace, Listener: backend.NewToken(), TTL: time.Minute, Mark: time.Minute, Max: 1,
		Queues: []backend.FetchQueue{{Name: "q", Room: 1}},
		Lanes: []backend.FetchLane{
			{Class: backend.ClassHigh, Max: 1},
			{Class: backend.ClassNormal, Max: 1},
			{Class: backend.ClassLow, Max: 1},
		},
	}
}

func benchSubmit(payload []byte) backend.SubmitRequest {
	return backend.SubmitRequest{
		Namespace: benchSpace, Queue: "q", ID: backend.NewToken(), Fresh: true, Payload: payload,
		Timeout: time.Minute, Retention: time.Millisecond, MaxDeaths: 3,
	}
}

// one fetches a task and reports that it is done.
func one(b *testing.B, be backend.Queues, fetch backend.FetchRequest) {
	ctx := b.Context()
	fetch.Token = backend.NewToken()
	got, err := be.Fetch(ctx, fetch)
	if err != nil || len(got.Tasks) != 1 {
		b.Fatal(len(got.Tasks), err)
	}
	g := &got.Tasks[0]
	done, err := be.Report(ctx, backend.ReportRequest{Namespace: benchSpace, Items: []backend.TaskReport{
		{ID: g.Task.ID, Token: g.Token, Kind: backend.ReportDone, Data: g.Task.Payload},
	}})
	if err != nil || !done.Accepted[0] {
		b.Fatal(err)
	}
}

func BenchmarkQuery(b *testing.B) {
	for _, waiting := range []int{0, 1_000_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			be, ctx, payload := memory.New(), b.Context(), []byte("payload")
			for i := range waiting {
				req := benchSubmit(payload)
				req.ID, req.Class, req.Timeout = strconv.Itoa(i), backend.ClassLow, time.Hour
				if _, err := be.Submit(ctx, req); err != nil {
					b.Fatal(err)
				}
			}
			fetch := benchFetch()
			b.ReportAllocs()
			for b.Loop() {
				req := benchSubmit(payload)
				req.Watch = true
				reply, err := be.Submit(ctx, req)
				if err != nil {
					b.Fatal(err)
				}
				one(b, be, fetch)
				if c := <-reply.Watching.Changes; c.Task.State != backend.TaskDone {
					b.Fatal(c)
				}
				reply.Watching.Stop()
			}
		})
	}
}

func BenchmarkSubmitFetchReport(b *testing.B) {
	be, ctx, payload := memory.New(), b.Context(), []byte("payload")
	fetch := benchFetch()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := be.Submit(ctx, benchSubmit(payload)); err != nil {
			b.Fatal(err)
		}
		one(b, be, fetch)
	}
}

// BenchmarkQueryParallel has many ask one listener, which serves up to 64 at a time.
func BenchmarkQueryParallel(b *testing.B) {
	for _, askers := range []int{64, 512} {
		b.Run(fmt.Sprintf("askers=%d", askers), func(b *testing.B) {
			be, ctx, payload := memory.New(), b.Context(), []byte("payload")
			done := make(chan struct{})
			go func() {
				defer close(done)
				listen(b, be)
			}()
			b.ReportAllocs()
			b.SetParallelism((askers + 1) / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req := benchSubmit(payload)
					req.Watch = true
					reply, err := be.Submit(ctx, req)
					if err != nil {
						b.Error(err)
						return
					}
					<-reply.Watching.Changes
				}
			})
			if err := be.Close(); err != nil {
				b.Fatal(err)
			}
			<-done
		})
	}
}

// listen serves tasks until the backend is closed.
func listen(b *testing.B, be *memory.Backend) {
	req := benchFetch()
	req.Max = 64
	req.Queues[0].Room = req.Max
	for i := range req.Lanes {
		req.Lanes[i].Max = req.Max
	}
	for {
		req.Token = backend.NewToken()
		got, err := be.Fetch(b.Context(), req)
		if err != nil {
			return // closed
		}
		if len(got.Tasks) == 0 {
			<-got.Wake
			continue
		}
		report := backend.ReportRequest{Namespace: benchSpace}
		for i := range got.Tasks {
			g := &got.Tasks[i]
			report.Items = append(report.Items, backend.TaskReport{ID: g.Task.ID, Token: g.Token, Kind: backend.ReportDone, Data: g.Task.Payload})
		}
		if _, err := be.Report(b.Context(), report); err != nil {
			return // closed
		}
	}
}
