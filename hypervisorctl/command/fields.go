package command

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A row is flat: a JSONPath to a field of it is the field's name. parseField accepts what kubectl's custom-columns and
// --sort-by do: {.name}, .name and name.
func parseField(path string) (name string, err error) {
	name = strings.TrimPrefix(strings.TrimSuffix(strings.TrimPrefix(path, "{"), "}"), ".")
	if known := rowFields(); !slices.Contains(known, name) {
		return "", fmt.Errorf("%q is not a field of a VM: must be one of %s", path, strings.Join(known, ", "))
	}
	return name, nil
}

// rowFields returns the names of a row's fields in JSON.
func rowFields() []string {
	var names []string
	for _, one := range reflect.VisibleFields(reflect.TypeFor[Row]()) {
		if name, _, _ := strings.Cut(one.Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// sortRows sorts rows by a field; those without it are last. Times are sorted as RFC 3339 writes them.
func sortRows(rows []Row, path string) error {
	name, err := parseField(path)
	if err != nil {
		return fmt.Errorf("--sort-by: %w", err)
	}
	type keyed struct {
		Row
		key any
	}
	all := make([]keyed, len(rows))
	for i, row := range rows {
		fields, err := clean(row)
		if err != nil {
			return err
		}
		all[i] = keyed{row, fields[name]}
	}
	slices.SortStableFunc(all, func(a, b keyed) int {
		if a.key == nil || b.key == nil {
			return cmp.Compare(btoi(a.key == nil), btoi(b.key == nil))
		}
		x, isNumber := a.key.(int64)
		if y, both := b.key.(int64); isNumber && both {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(fmt.Sprint(a.key), fmt.Sprint(b.key))
	})
	for i := range all {
		rows[i] = all[i].Row
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// customColumns returns the columns of -o custom-columns, HEADER:FIELD and more after commas.
func customColumns(spec string) ([]column, error) {
	var columns []column
	for part := range strings.SplitSeq(spec, ",") {
		header, path, found := strings.Cut(part, ":")
		if !found {
			return nil, fmt.Errorf("--output=custom-columns=%s: must be HEADER:FIELD, and more after commas", spec)
		}
		name, err := parseField(path)
		if err != nil {
			return nil, fmt.Errorf("--output=custom-columns: %w", err)
		}
		columns = append(columns, column{name: header, cell: func(row Row) string {
			fields, err := clean(row)
			if err != nil {
				return err.Error()
			}
			if fields[name] == nil {
				return ""
			}
			return fmt.Sprint(fields[name])
		}})
	}
	return columns, nil
}
