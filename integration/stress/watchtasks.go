package stress

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// taskWatch looks at the queues of a run.
type taskWatch struct {
	*findings
	be     task.Backend
	client rueidis.Client
	guard  *guard
	space  backend.Namespace
}

// placesScript walks all places in which a task that has not ended can stand, and gives what contradicts itself. An id that
// stands in a lane and is counted as a ghost does not count.
var placesScript = rueidis.NewLuaScriptReadOnly(`
local LANES = 3
local ghosts, wrong, at, order = redis.call('HGETALL', KEYS[6]), {}, {}, {}
local left = {}
for i = 1, #ghosts, 2 do left[ghosts[i]] = tonumber(ghosts[i + 1]) end
local function put(id, place)
  if not at[id] then
    at[id] = {}
    order[#order + 1] = id
  end
  table.insert(at[id], place)
end
for c = 1, LANES do
  for _, id in ipairs(redis.call('LRANGE', KEYS[c], 0, -1)) do
    local ghost = (c - 1) .. id
    if (left[ghost] or 0) > 0 then left[ghost] = left[ghost] - 1 else put(id, 'w') end
  end
end
for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do put(id, 's') end
for _, id in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do put(id, 'r') end
for _, id in ipairs(order) do
  local state = redis.call('HGET', ARGV[1] .. id, 's') or 'nothing'
  local places = table.concat(at[id], ', ')
  if places ~= state then wrong[#wrong + 1] = id .. ' stands as ' .. places .. ' and is ' .. state end
end
return wrong`)

// look compares the queues with what must hold.
func (t *taskWatch) look(ctx context.Context) error {
	least, err := t.guard.counter(ctx, acked)
	if err != nil {
		return err
	}
	for _, q := range queueNames {
		wrong, err := placesScript.Exec(ctx, t.client, []string{
			t.space.TaskLane(q, backend.ClassNormal), t.space.TaskLane(q, backend.ClassHigh), t.space.TaskLane(q, backend.ClassLow),
			t.space.TaskSchedule(q), t.space.TaskLeases(q), t.space.TaskGhosts(q),
		}, []string{t.space.TaskPrefix()}).AsStrSlice()
		if err != nil && !rueidis.IsRedisNil(err) {
			return err
		}
		for _, what := range wrong {
			t.add("task", "queue %s: %s (w: in a lane, s: in the schedule, r: running)", q, what)
		}
	}
	all, err := t.stats(ctx)
	if err != nil {
		return err
	}
	most, err := t.guard.counter(ctx, registered)
	if err != nil {
		return err
	}
	if came := int64(live(&all)+all.Dead) + all.Done + all.Failed + all.Expired + all.Cancelled; came < least || came > most {
		t.add("task", "%d to %d tasks were submitted, and the queues know of %d (%+v)", least, most, came, all)
	}
	return nil
}

// live is how many tasks of a queue have not ended.
func live(s *backend.QueueStats) int { return s.Scheduled + s.Waiting + s.Running }

// stats counts all queues together.
func (t *taskWatch) stats(ctx context.Context) (all backend.QueueStats, err error) {
	for _, q := range queueNames {
		s, err := t.be.Stats(ctx, backend.StatsRequest{Namespace: t.space, Queue: q})
		if err != nil {
			return all, err
		}
		all = backend.QueueStats{
			Scheduled: all.Scheduled + s.Scheduled, Waiting: all.Waiting + s.Waiting, Running: all.Running + s.Running,
			Dead: all.Dead + s.Dead, Listeners: all.Listeners + s.Listeners,
			Done: all.Done + s.Done, Failed: all.Failed + s.Failed, Expired: all.Expired + s.Expired, Cancelled: all.Cancelled + s.Cancelled,
		}
	}
	return all, nil
}
