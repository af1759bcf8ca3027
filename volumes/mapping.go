package volumes

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Mapping says which staging volume stands for which of production's. The zero
// value is the default: DEFAULT is prod, any other X is prod_X.
type Mapping struct {
	// Prod is the staging volume that is production's topdir. "" is "prod".
	Prod string `json:"prod,omitempty"`
	// Rules name the staging volume for a volume of production, if it is not
	// the default PROD_X. A volume that is mapped to Prod itself is
	// reached by production's own symlinks on DEFAULT.
	Rules map[string]string `json:"rules,omitempty"`
}

// Staging is the staging volume for a volume of production.
func (m Mapping) Staging(prodVolume string) string {
	if prodVolume == "" || prodVolume == DefaultVolume {
		return m.prod()
	}
	if name, ok := m.Rules[prodVolume]; ok {
		return name
	}
	// One component, so that vol/NAME is in vol itself.
	return m.prod() + "_" + strings.ReplaceAll(prodVolume, "/", "_")
}

// Links returns the staging volumes that show the builds of the given volumes of production, by
// name, without that of Prod itself.
func (m Mapping) Links(prodVolumes []string) ([]VolumeLink, error) {
	if err := m.Validate(prodVolumes); err != nil {
		return nil, err
	}
	sources := map[string]string{}
	for _, v := range prodVolumes {
		if name := m.Staging(v); name != m.prod() {
			sources[name] = "vol/" + v
		}
	}
	var links []VolumeLink
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		links = append(links, VolumeLink{name, sources[name]})
	}
	return links, nil
}

// Validate reports a mapping that is wrong for these volumes of production: an
// unsafe name, DEFAULT as a target, or two volumes under one name.
func (m Mapping) Validate(prodVolumes []string) error {
	if err := CheckName("staging volume name", m.prod()); err != nil {
		return err
	}
	from := map[string]string{}
	for _, v := range slices.Sorted(slices.Values(prodVolumes)) {
		if v == "" || v == DefaultVolume {
			continue
		}
		if err := CheckPath("volume name", v); err != nil {
			return err
		}
		name := m.Staging(v)
		if err := CheckName("staging volume name", name); err != nil {
			return err
		}
		if name == DefaultVolume {
			return fmt.Errorf("production's volume %q is mapped to %s, where staging's own builds are", v, DefaultVolume)
		}
		if other, ok := from[name]; ok && other != v && name != m.prod() {
			return fmt.Errorf("production's volumes %q and %q are both mapped to %q", other, v, name)
		}
		from[name] = v
	}
	return nil
}

// usable divides production's volumes into those that can have a link and those that cannot because
// of their names, each with the reason. A fault of Prod or Rules is an error.
func (m Mapping) usable(prodVolumes []string) (usable []string, barred map[string]error, err error) {
	barred = map[string]error{}
	from := map[string]string{}
	for _, v := range prodVolumes {
		if v == "" || v == DefaultVolume {
			continue
		}
		if err := CheckPath("volume name", v); err != nil {
			barred[v] = err
			continue
		}
		name := m.Staging(v)
		other, taken := from[name]
		_, ruled := m.Rules[v]
		_, otherRuled := m.Rules[other]
		switch err := CheckName("staging volume name", name); {
		case ruled: // Validate checks it
		case err != nil:
			barred[v] = fmt.Errorf("%w; give it a name in the table volumes of the configuration", err)
			continue
		case taken && name != m.prod() && !otherRuled:
			barred[v] = fmt.Errorf("staging's name of it, %q, is that of production's volume %q; give it one in the table volumes of the configuration", name, other)
			continue
		}
		from[name] = v
		usable = append(usable, v)
	}
	return usable, barred, m.Validate(usable)
}

func (m Mapping) prod() string {
	if m.Prod == "" {
		return "prod"
	}
	return m.Prod
}
