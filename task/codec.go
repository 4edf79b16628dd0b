package task

import (
	"encoding/json"
	"fmt"
)

// Codec turns payloads and results into bytes and back. Both ends of a queue need the same: its name travels with each task,
// and a task of another codec is refused with [ErrForeignPayload]. It is called concurrently.
type Codec interface {
	Name() string                       // short; unique among the codecs of a queue's users
	Marshal(v any) ([]byte, error)      // nobody changes afterwards what it gives
	Unmarshal(data []byte, v any) error // v is a pointer; data is neither kept nor changed
}

// JSON is the default [Codec], that of encoding/json.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) Name() string                  { return "json" }
func (jsonCodec) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// encode gives the bytes of v, if they are not too many.
func (c *Config) encode(what string, v any) ([]byte, error) {
	data, err := c.Codec.Marshal(v)
	if err != nil {
		return nil, invalid(what, fmt.Sprintf("%T", v), "cannot be encoded: "+err.Error())
	}
	if len(data) > c.MaxSize {
		return nil, fmt.Errorf("%w: %s of %d bytes, %d are allowed", ErrTooLarge, what, len(data), c.MaxSize)
	}
	return data, nil
}

// decode reads what encode gave.
func (c *Config) decode(what string, data []byte, v any) error {
	if err := c.Codec.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w: %w", what, ErrForeignPayload, err)
	}
	return nil
}
