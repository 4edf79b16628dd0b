package lease

import (
	"context"
	"errors"
	"fmt"

	"github.com/redisallocator/redisallocator/backend"
)

// Ended completes the error of a wait whose context has ended: if all it says is that the store could not be reached, it matches
// the error of ctx, too.
func Ended(ctx context.Context, err error) error {
	over := ctx.Err()
	if over == nil || errors.Is(err, over) || !errors.Is(err, backend.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", over, err)
}

// Unavailable has an error match [backend.ErrUnavailable] that says that our patience has ended. It does not match that of a
// context any more, because it was none of the caller's.
func Unavailable(err error) error {
	if errors.Is(err, backend.ErrUnavailable) || !unanswered(err) {
		return err
	}
	return fmt.Errorf("%w: %s", backend.ErrUnavailable, err.Error())
}
