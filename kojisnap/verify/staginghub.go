package verify

import (
	"context"
	"errors"
	"fmt"

	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/snapfile"
)

// ErrNotStagingHub says that the given hub is not staging's.
var ErrNotStagingHub = errors.New("not staging's hub")

// CheckStagingHub refuses, with ErrNotStagingHub, a hub at one of production's addresses, and one whose database
// does not have the user that kojisnap init makes. Verify would find production's hub ready at once.
func CheckStagingHub(ctx context.Context, staging *hub.Client, production ...string) error {
	for _, p := range production {
		if snapfile.SameHub(staging.URL(), p) {
			return fmt.Errorf("hub %s is production's: %w; give the URL of the staging hub", staging.URL(), ErrNotStagingHub)
		}
	}
	user, err := staging.Call(ctx, hub.Call{Method: "getUser", Args: []any{book.User}})
	if err != nil {
		return &askError{staging, "staging's", err}
	}
	if user.IsNil() {
		return fmt.Errorf("hub %s has no user %s, which kojisnap init makes in staging's database: %w; give the URL of the staging hub, or run kojisnap init",
			staging.URL(), book.User, ErrNotStagingHub)
	}
	return nil
}
