package hardlink

import (
	"errors"
	"syscall"
)

// checkSpace refuses what cannot fit before anything is written. Where blocks can be
// shared it cannot know.
func (e *Engine) checkSpace(a Actions) error {
	need := a.space()
	if need == 0 || canClone(e.top) {
		return nil
	}
	free, err := e.top.Free()
	if err != nil {
		return err
	}
	if need > free {
		return &SpaceError{e.top.Path(), need, free}
	}
	return nil
}

// full explains a disk that has become full.
func (e *Engine) full(err error, need int64) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	free, ferr := e.top.Free()
	if ferr != nil {
		return errors.Join(err, ferr)
	}
	return &SpaceError{e.top.Path(), max(need, 1), free}
}
