package pyregexp_test

// packages are names that patterns of package filters are tried on.
var packages = []string{"bash", "vim", "vim-enhanced", "emacs", "nginx", "python3-requests", "kernel", "kernel-rt", "gtk+", "libX11", "a.b", "x264"}

// odd are names that show the corners of the syntax.
var odd = []string{"", "a", "ab", "aa", "aab", "aaab", "abab", "abc", "b", "a\n", "a\nb", "A", "é", "éa", "a-b", "-", "]", "^", "[", "a]", "1", "12", "_", " ", "a b",
	"a{}", "a{x}", "a{1", "x{2,b}", ":", "K", "k", "ſ", "s", "İ", "i", "ı", "I", "²", "५", "\x1c", "\u00a0", "ж", "Ж", "ß", "ẞ", "#", "a#b", "\\", "\x08", "!", "0"}

// cases are patterns for each of the facts that the translation rests on.
var cases = []question{
	// As filters are written.
	{`^(vim|emacs|nginx).*$`, packages}, {`vim`, packages}, {`^vim$`, packages}, {`python3?-`, packages}, {`[a-m]`, packages}, {``, packages},
	{`(?!kernel)`, packages}, {`^(?!kernel$|vim)`, packages}, {`(?=.*-)`, packages}, {`.*(?<!-rt)$`, packages}, {`.*(?<=nel)`, packages}, {`(?i)LIBx`, packages},
	{`(?x) ^ ( vim | emacs ) # editors
		(-.*)? $`, packages}, {`(?#editors)vim|emacs(?#no more)`, packages}, {`(?:vim|emacs)\Z`, packages}, {`.*\.`, packages}, {`gtk\+`, packages}, {`gtk+`, packages},
	{`[[:alpha:]]+$`, packages}, {`[[:alpha:]]`, packages}, {`[^a-k]`, packages}, {`x{,3}264`, packages}, {`(.)(.).*\1`, packages}, {`(?P<c>.).*(?P=c)`, packages},
	{`\w+$`, packages}, {`\w+-\w+`, packages}, {`\D+\d`, packages}, {`k.*\b-`, packages}, {`(?s).*`, packages}, {`lib[A-Z]\d\d`, packages}, {`(v)?(?(1)im|.*s)`, packages},
	// Anchors.
	{`a$`, odd}, {`a\Z`, odd}, {`\Aa`, odd}, {`^a`, odd}, {`(?m)a$`, odd}, {`(?m)a\n^b`, odd}, {`a\n^b`, odd}, {`a$\n`, odd}, {`(?m)a$\nb$`, odd}, {`$`, odd}, {`\Z`, odd},
	{`\b`, odd}, {`\B`, odd}, {`a\b`, odd}, {`a\B`, odd}, {`(?a)\b`, odd}, {`(?a)\B`, odd}, {`.`, odd}, {`(?s).`, odd}, {`a.b`, odd}, {`(?s:a.)b`, odd}, {`a(?-s:.)b`, odd}, {`(?m:^)b`, odd},
	// Quantifiers and braces.
	{`a{,2}$`, odd}, {`a{,2}b`, odd}, {`a{,}$`, odd}, {`a{2,}`, odd}, {`a{2}`, odd}, {`a{1,2}b`, odd}, {`a{}`, odd}, {`a{x}`, odd}, {`a{1`, odd}, {`x{2,b}`, odd}, {`{`, odd}, {`a{ 1}`, odd}, {`a{1, 2}`, odd},
	{`a*?b`, odd}, {`a+?$`, odd}, {`a??b`, odd}, {`a{1,2}?b`, odd}, {`a*+`, odd}, {`a*+a`, odd}, {`a++b`, odd}, {`a?+a`, odd}, {`a{1,2}+a`, odd}, {`(?>a*)a`, odd}, {`(?>a|ab)c`, odd}, {`(?>ab|a)c`, odd},
	{`a**`, odd}, {`a*?*`, odd}, {`a*???`, odd}, {`*a`, odd}, {`+`, odd}, {`?`, odd}, {`(*)`, odd}, {`a|*`, odd}, {`^*`, odd}, {`$+`, odd}, {`\b?`, odd}, {`\Z*`, odd}, {`\A{2}`, odd}, {`(?:^)*a`, odd}, {`(?=a)*b`, odd},
	{`(?=a)?`, odd}, {`(?!a){2}b`, odd}, {`(?!)*a`, odd}, {`(?:)*a`, odd}, {`()*a`, odd}, {`(?:a|)*b`, odd}, {`(?:a*)*b`, odd}, {`(?:a*?)*?b`, odd}, {`(?:|a)+b`, odd}, {`(?:|a){2,}b`, odd}, {`a{2}{2}`, odd},
	{`a{2,1}`, odd}, {`a{4294967295}`, odd}, {`a{4294967294}`, odd}, {`a{0,4294967294}b`, odd}, {`a{99999999999999999999}`, odd}, {`a{0}b`, odd}, {`(a){0}b`, odd}, {`a{02}`, odd},
	// Sets.
	{`[]a]`, odd}, {`[^]a]`, odd}, {`[a-]`, odd}, {`[-a]`, odd}, {`[a\-b]`, odd}, {`[a-b-c]`, odd}, {`[\]]`, odd}, {`[[]`, odd}, {`[[a]`, odd}, {`[[a]]`, odd}, {`[a[b]`, odd}, {`[^]`, odd}, {`[]`, odd}, {`[a`, odd}, {`[b-a]`, odd},
	{`[a-z-[b]]`, odd}, {`[a&&b]`, odd}, {`[a||b]`, odd}, {`[a~~b]`, odd}, {`[a--b]`, odd}, {`[--a]`, odd}, {`[!--]`, odd}, {`[!-\-]`, odd}, {`[\--a]`, odd}, {`[+--]`, odd}, {`[\d-z]`, odd}, {`[a-\d]`, odd}, {`[\d-]`, odd}, {`[\w-]`, odd},
	{`[^\d]`, odd}, {`[^\D]`, odd}, {`[\W]`, odd}, {`[^\W]`, odd}, {`[\Wa]`, odd}, {`[^\Wa]`, odd}, {`[\D1]`, odd}, {`[^\D1]`, odd}, {`[\D\w]`, odd}, {`[^\D\w]`, odd}, {`[\d\W]`, odd}, {`[^\d\W]`, odd}, {`[\D\W]`, odd}, {`[^\D\W]`, odd}, {`[\w\W]`, odd},
	{`[^\w\W]`, odd}, {`[\S\s]`, odd}, {`[^\S\n]`, odd}, {`[\s\d]`, odd}, {`[\w.]`, odd}, {`[^\w.]`, odd}, {`(?a)[^\w]`, odd}, {`(?a)[\W1]`, odd}, {`(?a)[\D]`, odd}, {`(?a)[^\S]`, odd}, {`[\b]`, odd}, {`[\x41-\x43]`, odd}, {`[\101-\103]`, odd}, {`[\0-\x1f]`, odd},
	{`[\8]`, odd}, {`[\400]`, odd}, {`[\q]`, odd}, {`[\A]`, odd}, {`[\Z]`, odd}, {`[\B]`, odd}, {`[\_]`, odd}, {`[\é]`, odd}, {`[^a]`, odd}, {`[^a]b`, odd}, {`[à-ö]`, odd}, {`[а-я]`, odd}, {`[#a]`, odd}, {`(?x)[# a]`, odd}, {`(?x)[a b]`, odd}, {`[^-a]`, odd}, {`[a^]`, odd}, {`[\^a]`, odd},
	// Classes.
	{`\w`, odd}, {`\W`, odd}, {`\d`, odd}, {`\D`, odd}, {`\s`, odd}, {`\S`, odd}, {`(?a)\w`, odd}, {`(?a)\W`, odd}, {`(?a)\d`, odd}, {`(?a)\s`, odd}, {`(?a)\S`, odd}, {`(?u)\w`, odd}, {`(?a:\w)`, odd}, {`(?a:\w|(?u:\w))`, odd}, {`(?u:\d)`, odd},
	// Escapes.
	{`\0`, odd}, {`\01`, odd}, {`\012`, odd}, {`\0123`, odd}, {`\141`, odd}, {`\377`, odd}, {`\400`, odd}, {`\777`, odd}, {`\08`, odd}, {`\1`, odd}, {`\8`, odd}, {`\10`, odd}, {`\18`, odd}, {`(a)\1`, odd}, {`(a)\10`, odd}, {`(a)\11`, odd}, {`(a)\111`, odd}, {`(a)\18`, odd},
	{`\x61`, odd}, {`\x6`, odd}, {`\x`, odd}, {`\x6g`, odd}, {`\u0061`, odd}, {`\u006`, odd}, {`\U00000061`, odd}, {`\U0001F600`, odd}, {`\U00110000`, odd}, {`\U0061`, odd}, {`\N{LATIN SMALL LETTER A}`, odd}, {`[\N{DIGIT ONE}]`, odd}, {`\N`, odd}, {`\N{`, odd}, {`\N{}`, odd}, {`\N{NO SUCH}`, odd}, {`\ud800`, odd}, {`[\ud800-\udfff]`, odd},
	{`\_`, odd}, {`\-`, odd}, {`\é`, odd}, {`\ `, odd}, {`\#`, odd}, {`\]`, odd}, {`\^`, odd}, {`\\`, odd}, {`\`, odd}, {`a\`, odd}, {`[\`, odd}, {`(\`, odd}, {`\e`, odd}, {`\G`, odd}, {`\K`, odd}, {`\p{L}`, odd}, {`\P{L}`, odd}, {`\pL`, odd}, {`\Q`, odd}, {`\R`, odd}, {`\X`, odd}, {`\h`, odd}, {`\c`, odd}, {`\cA`, odd}, {`\E`, odd}, {`\i`, odd}, {`\C`, odd}, {`\H`, odd}, {`\V`, odd},
	{`\a`, odd}, {`\f`, odd}, {`\n`, odd}, {`\r`, odd}, {`\t`, odd}, {`\v`, odd}, {`a\nb`, odd}, {`\/`, odd}, {`\<`, odd}, {`\'`, odd},
	// Groups.
	{`(a)(b)\2`, odd}, {`(?P<x>a)(?P=x)`, odd}, {`(?P<x>a)\1`, odd}, {`(?P<x>a)(b)?\2`, odd}, {`(a)?\1`, odd}, {`(a)|b\1`, odd}, {`\1(a)`, odd}, {`(a\1)`, odd}, {`(?P<x>a(?P=x))`, odd}, {`(?P=x)`, odd}, {`(?P<x>a)(?P<x>b)`, odd}, {`(?P<1>a)`, odd}, {`(?P<>a)`, odd}, {`(?P<a-b>a)`, odd},
	{`(?P<é>a)`, odd}, {`(?P<x`, odd}, {`(?P<x>`, odd}, {`(?P=`, odd}, {`(?P=x`, odd}, {`(?P>x)`, odd}, {`(?P`, odd}, {`(?Px)`, odd}, {`(?<x>a)`, odd}, {`(?'x'a)`, odd}, {`(?<x-y>a)`, odd}, {`(?|a|b)`, odd}, {`(?&x)`, odd}, {`(?R)`, odd}, {`(?1)`, odd}, {`(?+1)`, odd}, {`(?~a)`, odd}, {`(?`, odd}, {`(?)`, odd}, {`(?<`, odd}, {`(?<)`, odd},
	{`(`, odd}, {`)`, odd}, {`a)`, odd}, {`(a`, odd}, {`((a)`, odd}, {`(a))`, odd}, {`()`, odd}, {`(|a)b`, odd}, {`(a|)b`, odd}, {`|a`, odd}, {`a|`, odd}, {`a||b`, odd}, {`(?:a|ab)(?:c|bc)$`, odd}, {`(?:ab|a)(?:bc|c)?$`, odd}, {`a|ab|abc$`, odd},
	{`(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\10`, []string{"abcdefghijj", "abcdefghija0", "abcdefghij\b"}}, {`(a)(b)(c)(d)(e)(f)(g)(h)(i)\10`, []string{"abcdefghia0"}}, {`(?P<a>a)(b)(?P<c>c)\1\2\3`, []string{"abcabc", "abcbac"}},
	// Conditions.
	{`(a)?(?(1)b|c)`, odd}, {`(a)?(?(1)b)`, odd}, {`(a)?(?(1)|b)`, odd}, {`(a)?(?(1)b|)`, odd}, {`(?P<x>a)?(?(x)b|c)`, odd}, {`(?(1)a|b)`, odd}, {`(?(1)a|b)(c)`, odd}, {`(a)(?(0)a|b)`, odd}, {`(a)(?(1)a|b|c)`, odd}, {`(?(x)a|b)`, odd}, {`(?(a)a|b)`, odd}, {`(?(?=a)a|b)`, odd}, {`(a)(?(1`, odd}, {`(a)(?(1)`, odd}, {`(a)(?()b)`, odd}, {`(a)(?(99999999999)b)`, odd},
	{`(a)?(?(01)b|c)`, odd}, {`(a)(?(+1)b)`, odd}, {`(a)(?( 1 )b)`, odd}, {`(a)(?(1_0)b)`, odd}, {`(a)(?(-1)b)`, odd}, {`(a)(?(1a)b)`, odd}, {`(a(?(1)b|c))`, odd}, {`(?:(a)|b)*(?(1)c|$)`, odd},
	// Look-arounds.
	{`a(?=b)`, odd}, {`a(?!b)`, odd}, {`(?<=a)b`, odd}, {`a(?<=a)b`, odd}, {`ab(?<!a)`, odd}, {`ab(?<=ab)`, odd}, {`ab(?<=a|b)`, odd}, {`ab(?<=a|ab)`, odd}, {`ab(?<=a*)`, odd}, {`ab(?<!a+b)`, odd}, {`ab(?<=a{1,2})`, odd}, {`aab(?<=a{2}b)`, odd}, {`(a)b(?<=\1b)`, odd}, {`(?<=(a)\1)`, odd}, {`(a|bc)(?<=\1)`, odd}, {`ab(?<=(a)b)\1?`, odd},
	{`aa(?<=(a){2})\1`, odd}, {`ab(?<=(?:a|b)(b))\1?$`, odd}, {`a(?=(b))\1`, odd}, {`a(?!(b))`, odd}, {`(?!(a)\1)a`, odd}, {`(?!(a)b)a\1?`, odd}, {`(?=a)(?=.*b)`, odd}, {`(?<!a)b`, odd}, {`(?<!^)b`, odd}, {`a(?<=^a)`, odd}, {`ab(?<=(?=b)b)`, odd}, {`(?<=`, odd}, {`(?=a`, odd}, {`(?!)`, odd}, {`(?=)`, odd}, {`(?<=)a`, odd}, {`(?<!)a`, odd}, {`(?<=(?:))a`, odd}, {`a\b(?<=\b)`, odd}, {`(?<=a(?#c))b|a`, odd},
	// Flags.
	{`(?i)a`, odd}, {`(?i)A`, odd}, {`(?i)[a]`, odd}, {`(?i)[^a]`, odd}, {`(?i)[a-b]`, odd}, {`(?i)k`, odd}, {`(?i)K`, odd}, {`(?i)s`, odd}, {`(?i)ſ`, odd}, {`(?i)i`, odd}, {`(?i)İ`, odd}, {`(?i)ı`, odd}, {`(?i)I`, odd}, {`(?i)ß`, odd}, {`(?i)ẞ`, odd}, {`(?i)é`, odd}, {`(?i)ж`, odd}, {`(?i)Ж`, odd}, {`(?ai)k`, odd}, {`(?ai)s`, odd}, {`(?ai)é`, odd}, {`(?ai)[a-z]`, odd}, {`(?i)[a-z]`, odd}, {`(?i)[^a-z]`, odd}, {`(?i)[\W]`, odd}, {`(?i)[k\d]`, odd},
	{`(?i)(a)\1`, odd}, {`(?i:a)b`, odd}, {`(?i:a)B`, odd}, {`(?i)a(?-i:b)`, odd}, {`(?i)A(?-i:B)`, odd}, {`(?-i:a)`, odd}, {`(?i-i:a)`, odd}, {`(?i-s:a)`, odd}, {`(?s-i:.)`, odd}, {`(?im)A$`, odd}, {`(?i)(?m)A$`, odd}, {`a(?i)B`, odd}, {`a|(?i)B`, odd}, {`(a(?i))B`, odd}, {`a(?s).`, odd}, {`(?i:(?s)).`, odd}, {`A(?i)`, odd}, {`(?#c)(?i)A`, odd}, {` (?x)a`, odd}, {`a b(?x)`, odd}, {`(?-x:a b(?x))`, odd},
	{`(?L)a`, odd}, {`(?t)a`, odd}, {`(?t)a*`, odd}, {`(?n)a`, odd}, {`(?r)a`, odd}, {`(?iL:a)`, odd}, {`(?au)a`, odd}, {`(?a)(?u)a`, odd}, {`(?-a:a)`, odd}, {`(?-i)a`, odd}, {`(?i-)a`, odd}, {`(?i-:a)`, odd}, {`(?-:a)`, odd}, {`(?-`, odd}, {`(?i`, odd}, {`(?i-s`, odd}, {`(?i-s:`, odd}, {`(?iz)a`, odd}, {`(?i!)a`, odd}, {`(?i-z:a)`, odd}, {`(?iii)A`, odd}, {`(?is-is:a)`, odd}, {`(?^:a)`, odd}, {`(?U)a`, odd}, {`(?d)a`, odd},
	// Verbose.
	{`(?x)a b`, odd}, {`(?x)a\ b`, odd}, {`(?x)a[ ]b`, odd}, {`(?x)a#b`, odd}, {"(?x)a#c\nb", odd}, {"(?x)a # c \\\nb", odd}, {`(?x)a\#b`, odd}, {`(?x)a *b`, odd}, {`(?x)a* ?b`, odd}, {`(?x)a {2}`, odd}, {`(?x)a{ 2}`, odd}, {`(?x)( ?:a)`, odd}, {`(?x)(? :a)`, odd}, {`(?x) (?i) A`, odd}, {`(?x:a b)`, odd}, {`(?x:a b) `, odd}, {`(?x)a(?-x: b)`, odd}, {`(?x)(?-x:a b)`, odd}, {`(?x)\x 61`, odd}, {"(?x)a\u00a0b", odd}, {"(?x)a\x0bb", odd}, {`a#b`, odd}, {`(?x)|a`, odd}, {`(?x)(?#c)a`, odd},
	// Comments.
	{`a(?#c)*b`, odd}, {`a(?#c`, odd}, {`(?#c\)a`, odd}, {`(?#)a`, odd}, {`(?#(c)a`, odd}, {`(?#c))a`, odd}, {`(?# ) b`, odd},
}
