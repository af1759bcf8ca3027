package clone

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// Clone is a writable clone of production's tree.
type Clone struct {
	ID string `json:"id"`
	// Details are what the provider has to know to find the clone again. Nobody else reads them.
	Details map[string]string `json:"details,omitempty"`
	// Lower is the tree that the clone reads as long as it lives; nil: the clone stands by itself.
	Lower *Lower `json:"lower,omitempty"`
}

// Provider makes clones with one kind of storage. Its methods are called one after the other. Errors say what was
// tried, on what, and what to do. A full disk is an error that wraps ENOSPC.
type Provider interface {
	// Create makes the clone with an id, complete and durable. The same id again gives the same clone: also if the
	// process was killed in an earlier call.
	Create(ctx context.Context, id ID) (Clone, error)
	// Mount makes a clone visible on this machine, if it is not, and returns the absolute path of the directory that
	// stands for production's topdir.
	Mount(ctx context.Context, c Clone) (path string, err error)
	// List returns the clones of the environment that there are, also unfinished ones, by id.
	List(ctx context.Context) ([]Clone, error)
	// Discard removes a clone with all that was written into it. ErrBusy says that it is in use, and nothing was
	// done. A clone that is gone, or gone in part, is no error.
	Discard(ctx context.Context, c Clone) error
}

// Checker is a Provider that can tell beforehand why no clone can be made. It changes nothing.
type Checker interface {
	Check(ctx context.Context) error
}

// ErrBusy says that a clone is in use, and so was not discarded.
var ErrBusy = errors.New("in use")

// ID names a clone: the environment that it is for, the event of production that it comes after, and when it was
// asked for. As text it is ENV-EVENT-TIME, in lower case, so that it can be a name in any storage that allows hyphens.
type ID struct {
	Env   string
	Event int64
	Time  time.Time // of whole seconds, UTC
}

const timeLayout = "20060102t150405z"

var idRE = regexp.MustCompile(`^([a-z0-9_-]{1,100})-([0-9]{1,18})-([0-9]{8}t[0-9]{6}z)$`)

// NewID returns the id of a clone that is asked for now.
func NewID(env string, event int64, now time.Time) (ID, error) {
	id := ID{env, event, now.UTC().Truncate(time.Second)}
	if parsed, err := ParseID(id.String()); err != nil || parsed != id {
		return ID{}, fmt.Errorf("clone of environment %q at event %d: an environment of at most 100 lower case letters, digits, - and _ is wanted, and an event of at least 0", env, event)
	}
	return id, nil
}

// ParseID reads an id.
func ParseID(s string) (ID, error) {
	m := idRE.FindStringSubmatch(s)
	if m == nil {
		return ID{}, fmt.Errorf("clone %q: is no id of a clone, as kojisnap clones lists them: want ENVIRONMENT-EVENT-TIME", s)
	}
	event, err := strconv.ParseInt(m[2], 10, 64)
	if err != nil {
		return ID{}, fmt.Errorf("clone %q: event: %w", s, err)
	}
	at, err := time.Parse(timeLayout, m[3])
	if err != nil {
		return ID{}, fmt.Errorf("clone %q: time: %w", s, err)
	}
	return ID{m[1], event, at.UTC()}, nil
}

func (id ID) String() string {
	return fmt.Sprintf("%s-%d-%s", id.Env, id.Event, id.Time.UTC().Format(timeLayout))
}

// Dir returns the directory of a clone of an environment, for providers that keep clones in directories that are named
// by their ids: the one that its details have, as it may have been made below another base, or else the one below base.
func (c Clone) Dir(env, base string) (string, error) {
	id, err := ParseID(c.ID)
	if err != nil {
		return "", err
	}
	if id.Env != env {
		return "", fmt.Errorf("clone %s is of environment %s", c.ID, id.Env)
	}
	dir := c.Details["dir"]
	if dir == "" {
		return filepath.Join(base, c.ID), nil
	}
	if !filepath.IsAbs(dir) || filepath.Base(dir) != c.ID {
		return "", fmt.Errorf("clone %s: its note has the directory %q", c.ID, dir)
	}
	return dir, nil
}
