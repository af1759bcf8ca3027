package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/kojisnap/durable"
)

// addStamp adds the flag that names the file for checks of age.
func addStamp(fs *pflag.FlagSet, path *string) {
	fs.StringVar(path, "stamp", "", "after success write the time to `FILE`, as seconds since 1970 alone on a line")
}

// checkStamp refuses, before any work is done, a stamp that could not be written afterwards.
func checkStamp(path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("stamp %s: is there, and no regular file", path)
	}
	if err := durable.CheckWritable(path); err != nil {
		return fmt.Errorf("stamp %s cannot be written: %w", path, err)
	}
	return nil
}

// writeStamp replaces the stamp atomically: a reader finds the old time or the new one.
func writeStamp(path string) error {
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
