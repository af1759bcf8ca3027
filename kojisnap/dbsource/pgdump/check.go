package pgdump

import (
	"context"
	"fmt"
	"log/slog"

	"kojisnap/kojisnap/progress"
)

// Check finds out whether a dump can be opened, and says what it is. It reads its beginning only: whether it is
// whole, and has all that is wanted, is found when it is read.
func Check(ctx context.Context, o Options) (string, error) {
	if o.Path == "-" {
		return "a dump on standard input", nil
	}
	o.Log, o.Progress = slog.New(slog.DiscardHandler), progress.Discard
	what, err := check(ctx, o)
	if err != nil {
		return "", &Error{o.Path, err}
	}
	return what, nil
}

func check(ctx context.Context, o Options) (string, error) {
	in, err := openInput(ctx, o)
	if err != nil {
		return "", err
	}
	defer in.close()
	if in.format != formatArchive {
		return "dump of pg_dump", checkRoom(o.TempDir, in.estimate)
	}
	if in.path == "" {
		return fmt.Sprintf("archive of version %s, compressed", in.version), checkRoom(o.TempDir, in.estimate)
	}
	entries, found, err := list(ctx, in, nil)
	if err != nil {
		return "", err
	}
	_, err = found.koji()
	return fmt.Sprintf("archive of version %s with rows of %d tables", in.version, len(entries)), err
}
