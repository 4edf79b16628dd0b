package integration

import (
	"fmt"
	"slices"
	"strconv"
)

// accessScript gives the values of registers, and first writes them if there is a value to write. A register refuses
// whoever shows a fencing number that is smaller than the largest that was shown by somebody who was alone. Somebody who
// is alone is refused after any larger one.
const accessScript = `
local fence, sharing, value = tonumber(ARGV[1]), ARGV[2] == 'shared', ARGV[3]
local values = {}
for i, key in ipairs(KEYS) do
  local alone = tonumber(redis.call('HGET', key, 'alone') or 0)
  local shared = tonumber(redis.call('HGET', key, 'shared') or 0)
  if fence < alone or not sharing and fence < shared then
    values[i] = false
  else
    redis.call('HSET', key, sharing and 'shared' or 'alone', string.format('%.0f', sharing and math.max(fence, shared) or fence))
    if value ~= '' then redis.call('HSET', key, 'value', value) end
    values[i] = redis.call('HGET', key, 'value') or ''
  end
end
return values`

// access reads the registers of a lease or writes its name into them.
func (c *client) access(resource string, part int, t *tenure, write, shared bool) (*access, error) {
	words := []string{"EVAL", accessScript, strconv.Itoa(len(t.Slots))}
	for _, slot := range t.Slots {
		words = append(words, register(resource, slot))
	}
	how, value := "alone", ""
	if shared {
		how = "shared"
	}
	if write {
		value = leaseName(c.id, part)
	}
	a := &access{Write: write, Shared: shared, Call: now()}
	reply, err := c.store.do(append(words, strconv.FormatInt(t.Fence, 10), how, value)...)
	a.Return = now()
	if err != nil {
		return nil, err
	}
	values, err := reply.ToArray()
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		if v.IsNil() {
			a.Values = append(a.Values, nil)
			continue
		}
		text, err := v.ToString()
		if err != nil {
			return nil, err
		}
		a.Values = append(a.Values, &text)
	}
	if slices.Contains(a.Values, nil) && t.lease.Valid() {
		c.tell(entry{ID: c.id, Problem: fmt.Sprintf("%s: refused while %d was valid", resource, t.Fence), Excused: true})
	}
	return a, nil
}

func register(resource string, slot int) string { return fmt.Sprintf("%s/%d", resource, slot) }

func leaseName(id string, part int) string { return fmt.Sprintf("%s/%d", id, part) }
