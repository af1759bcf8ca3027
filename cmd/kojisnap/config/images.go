package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kojisnap/kojisnap/trial/inside"
)

// Images is a flag of images by patterns: PATTERN=IMAGE on the command line. In the configuration it is a table, in
// which a value is the name of an image, or a table with image and release.
type Images inside.Images

// Strings are the images as the command line has them, sorted.
func (i *Images) Strings() []string {
	all := []string{}
	for _, pattern := range slices.Sorted(maps.Keys(*i)) {
		all = append(all, pattern+"="+(*i)[pattern].Name)
	}
	return all
}

func (i *Images) String() string { return strings.Join(i.Strings(), ",") }
func (i *Images) Type() string   { return "PATTERN=IMAGE" }

func (i *Images) Set(s string) error {
	pattern, name, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("%q: want PATTERN=IMAGE, such as f42*=registry.example.com/fedora:42", s)
	}
	return i.put(pattern, inside.Image{Name: name})
}

func (i *Images) put(pattern string, image inside.Image) error {
	if err := inside.CheckImage(pattern, image); err != nil {
		return err
	}
	if *i == nil {
		*i = Images{}
	}
	(*i)[pattern] = image
	return nil
}

// replace takes the table of a configuration.
func (i *Images) replace(v any) error {
	table, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s, not %s", wanted(i), shown(v))
	}
	*i = nil
	for _, pattern := range slices.Sorted(maps.Keys(table)) {
		image, err := imageOf(table[pattern])
		if err == nil {
			err = i.put(pattern, image)
		} else {
			err = fmt.Errorf("%q: %w", pattern, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func imageOf(v any) (image inside.Image, err error) {
	if name, ok := v.(string); ok {
		return inside.Image{Name: name}, nil
	}
	table, ok := v.(map[string]any)
	if !ok {
		return image, fmt.Errorf("want the name of an image, or { image = \"…\", release = \"…\" }, not %s", shown(v))
	}
	for _, key := range slices.Sorted(maps.Keys(table)) {
		to := map[string]*string{"image": &image.Name, "release": &image.Release}[key]
		if to == nil {
			return image, fmt.Errorf("no key %q%s", key, Suggest(key, []string{"image", "release"}))
		}
		if *to, ok = table[key].(string); !ok {
			return image, fmt.Errorf("%s: want a text in quotes, not %s", key, shown(table[key]))
		}
	}
	if image.Name == "" {
		return image, errors.New("want the name of the image as image")
	}
	return image, nil
}

// tableText returns a table as TOML writes it in one line, and its entries as texts.
func tableText(table map[string]any) (text string, texts []string) {
	texts = []string{}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(table)) {
		var value, plain string
		if inner, ok := table[key].(map[string]any); ok {
			value, _ = tableText(inner)
			plain = value
		} else {
			value, plain = scalarText(table[key])
		}
		parts, texts = append(parts, Quote(key)+" = "+value), append(texts, key+"="+plain)
	}
	if len(parts) == 0 {
		return "{}", texts
	}
	return "{ " + strings.Join(parts, ", ") + " }", texts
}

// merged returns a table with the entries of both; those of upper go before.
func merged(lower, upper any) any {
	a, ok := lower.(map[string]any)
	b, both := upper.(map[string]any)
	if !ok || !both {
		return upper
	}
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
