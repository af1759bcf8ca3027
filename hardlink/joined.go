package hardlink

import (
	"errors"
	"fmt"
)

// joined is one error of many, of which it prints a few.
func joined(errs []error) error {
	const shown = 20
	if len(errs) > shown {
		errs = append(errs[:shown:shown], &moreError{errs[shown:]})
	}
	return errors.Join(errs...)
}

// moreError stands for those that are not printed; errors.As still finds them.
type moreError struct{ errs []error }

func (m *moreError) Error() string   { return fmt.Sprintf("and %d more", len(m.errs)) }
func (m *moreError) Unwrap() []error { return m.errs }
