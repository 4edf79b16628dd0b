package lock

import (
	"errors"
	"fmt"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// Errors of locks; those of package backend come besides. They are wrapped with what was attempted.
var (
	// ErrLocked means that somebody else holds the lock, or waits for it, or, with [MaxWait], that this was so for too long.
	ErrLocked = errors.New("locked")

	// ErrUpgrade refuses to lock alone, or in more units, what the caller shares already (see [WithHeld] and [Token]): two
	// that did so would wait for each other. Unlock first.
	ErrUpgrade = errors.New("held already, in another way, by who asks")

	// ErrNotHeld means that a lock is not, or no longer, held by who wants to give it back or change it. Nothing
	// was changed. It comes joined with ErrLost, ErrExpired or ErrReleased, if that is known.
	ErrNotHeld = lease.ErrNotHeld

	// ErrLost is the cause of a lock's end if the store said that it is no longer ours: somebody took it away by
	// force, or the store lost its data.
	ErrLost = lease.ErrLost

	// ErrExpired is the cause of a lock's end if it was not renewed in time, by our own clock.
	ErrExpired = lease.ErrExpired

	// ErrReleased is the cause of a lock's end if its holder unlocked it.
	ErrReleased = lease.ErrReleased
)

// errReleased is what a handle answers that was unlocked.
var errReleased = fmt.Errorf("%w: %w", ErrNotHeld, ErrReleased)

func invalid(field, value, reason string) error {
	return &backend.InvalidError{Field: field, Value: value, Reason: reason}
}

// fail says what was attempted, and with which names.
func fail(op string, items []backend.LockItem, err error) error {
	switch {
	case err == nil:
		return nil
	case len(items) == 1:
		return fmt.Errorf("%s %.100q: %w", op, items[0].Name, err)
	case len(items) == 0:
		return fmt.Errorf("%s: %w", op, err)
	default:
		return fmt.Errorf("%s %.100q and %d more: %w", op, items[0].Name, len(items)-1, err)
	}
}

// and joins a further error, if there is one.
func and(err, further error) error {
	switch {
	case further == nil:
		return err
	case err == nil:
		return further
	}
	return errors.Join(err, further)
}
