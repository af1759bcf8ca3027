// Command completions writes the completion scripts of kojisnap for bash, zsh and fish into the current directory:
//
//	cd scripts/completions && go run .
//
// The scripts are cobra's, for a command that answers "kojisnap __complete WORD…"; kojisnap's own answers come from its
// flags, so the scripts change only with cobra.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{Use: "kojisnap", Run: func(*cobra.Command, []string) {}}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"kojisnap.bash": func(b *bytes.Buffer) error { return root.GenBashCompletionV2(b, true) },
		"_kojisnap":     func(b *bytes.Buffer) error { return root.GenZshCompletion(b) },
		"kojisnap.fish": func(b *bytes.Buffer) error { return root.GenFishCompletion(b, true) },
	} {
		var b bytes.Buffer
		err := write(&b)
		if err == nil {
			err = os.WriteFile(name, b.Bytes(), 0o644)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
	}
}
