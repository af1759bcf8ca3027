package flags

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/kojisnap/durable"
)

// AddStamp adds the flag that names the file for checks of age.
func AddStamp(fs *pflag.FlagSet, path *string) {
	fs.StringVar(path, "stamp", "", "after success write the time to `FILE`, as seconds since 1970 alone on a line")
}

// CheckOutput refuses, before any work is done, a file of a flag that could not be replaced afterwards.
func CheckOutput(flag, path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		err = errors.New("it is there, and no regular file")
	case err == nil || errors.Is(err, fs.ErrNotExist):
		err = durable.CheckWritable(path)
	}
	if err != nil {
		return fmt.Errorf("%s %s cannot be written: %w; --%[1]s names another file", flag, path, err)
	}
	return nil
}

// WriteStamp replaces the stamp atomically: a reader finds the old time or the new one.
func WriteStamp(path string) error {
	if path == "" {
		return nil
	}
	err := durable.WriteFile(path, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, time.Now().Unix())
		return err
	})
	if err != nil {
		return fmt.Errorf("all is done but for the stamp: %w", err)
	}
	return nil
}
