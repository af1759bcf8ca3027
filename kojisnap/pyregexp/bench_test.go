package pyregexp_test

import (
	"regexp"
	"testing"

	"kojisnap/kojisnap/pyregexp"
)

var benchNames = []string{"bash", "python3-requests", "vim", "emacs", "nginx", "kernel", "java-1.8.0-openjdk", "libX11", "perl-Test-Simple", "texlive"}

func BenchmarkMatchStart(b *testing.B) {
	for _, pattern := range []string{`^(vim|emacs|nginx).*$`, `python3?-.*`, `^(?!kernel)`, `[a-m]\w+`} {
		b.Run(pattern, func(b *testing.B) {
			re, err := pyregexp.Compile(pattern)
			if err != nil {
				b.Fatal(err)
			}
			for i := range b.N {
				if _, err := re.MatchStart(benchNames[i%len(benchNames)]); err != nil {
					b.Fatal(err)
				}
			}
		})
		std, err := regexp.Compile(`^(?:` + pattern + `)`)
		if err != nil {
			continue
		}
		b.Run(pattern+"/Go", func(b *testing.B) {
			for i := range b.N {
				std.MatchString(benchNames[i%len(benchNames)])
			}
		})
	}
}
