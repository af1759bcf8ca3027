// Package ledgertest makes texts of ledgers for tests: with lines of any kind, and in formats that kojisnap
// wrote earlier.
package ledgertest

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

const magicName = "kojisnap-ledger"

// Text returns a ledger of a format with these lines in one batch. The batch's digest is right.
func Text(format int, lines []string) string {
	text := strings.Join(lines, "\n") + "\n"
	if len(lines) == 0 {
		text = ""
	}
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%s\t%d\n%s=\t%d\t%x\n", magicName, format, text, strings.Count(text, "\n"), sum[:8])
}

// Downgrade returns a ledger as kojisnap wrote it in an earlier format: without the kinds of lines that the
// format lacks. change, if not nil, may change the fields of the other lines.
func Downgrade(format int, text string, change func(fields []string)) string {
	lacked := map[int]string{1: "kL=NUWTD", 2: "=TD", 3: "=D"}[format]
	var lines []string
	for line := range strings.Lines(text) {
		if strings.Contains(lacked, line[:1]) || strings.HasPrefix(line, magicName) {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if change != nil {
			change(fields)
		}
		lines = append(lines, strings.Join(fields, "\t"))
	}
	return Text(format, lines)
}
