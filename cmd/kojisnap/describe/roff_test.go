package describe

import "testing"

// TestRoff: no text is a request or an escape of troff.
func TestRoff(t *testing.T) {
	for text, want := range map[string]string{
		".so /etc/passwd":     `\&.so /etc/passwd`,
		"'br":                 `\(aqbr`,
		`a\fB-x "q" ^~` + "`": `a\efB\-x \(dqq\(dq \(ha\(ti\(ga`,
		"…é\x1b":              `\[u2026]\[u00E9]\[uFFFD]`,
	} {
		if got := roffLine(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	p := new(page)
	p.prose("One\ntwo.\n\n    .block\n      more\n\nThree.")
	if want := "One two.\n.PP\n.RS 4\n.nf\n\\&.block\n  more\n.fi\n.RE\n.PP\nThree.\n"; p.String() != want {
		t.Errorf("%q, want %q", p.String(), want)
	}
}
