package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/durable"
)

// addStamp adds the flag that names the file for checks of age.
func addStamp(fs *pflag.FlagSet, path *string) {
	fs.StringVar(path, "stamp", "", "after success, write the time to `FILE`: the seconds since 1970, alone on a line")
}

// checkStamp refuses, before the work, a stamp that could not be written after it.
func checkStamp(path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("stamp %s: is there, and no regular file", path)
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil {
		return fmt.Errorf("stamp %s: %w: make the directory first", path, err)
	} else if !info.IsDir() {
		return fmt.Errorf("stamp %s: %s is no directory", path, dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("stamp %s: directory %s cannot be written: %w", path, dir, err)
	}
	return nil
}

// writeStamp replaces the stamp at once: who reads it finds the old time or the new.
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
