// Package terminal writes text of others (VM owners, pods, servers) so that it can neither control a terminal nor look
// like a line of ours. All output of hypervisorctl goes through it.
package terminal

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// longest is how many characters of one value are shown. The longest values of our own are hints of some hundred.
const longest = 2000

// Line returns the text on one line, of at most 2000 characters. What is not printable is escaped as in JSON: control
// characters, line and paragraph separators, and what changes the direction of text. A byte that is not UTF-8 becomes
// \ufffd.
func Line(text string) string {
	return cut(escape(cut(text), "")) // before, for the work that it saves; after, since escapes are longer
}

func cut(text string) string {
	if utf8.RuneCountInString(text) <= longest {
		return text
	}
	return string([]rune(text)[:longest-1]) + "…"
}

// escape escapes what is not printable, but leaves the characters of keep as they are.
func escape(text, keep string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == utf8.RuneError: // also a byte that is not UTF-8
			b.WriteString(`\ufffd`)
		case unicode.IsPrint(r), strings.ContainsRune(keep, r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Clean replaces every string in the value that object points to by its Line: in exported fields, slices and maps, keys
// included.
func Clean(object any) { clean(reflect.ValueOf(object)) }

func clean(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			clean(v.Elem())
		}
	case reflect.String:
		if v.CanSet() {
			v.SetString(Line(v.String()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() || field.Anonymous {
				clean(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			clean(v.Index(i))
		}
	case reflect.Map:
		cleanMap(v)
	default:
	}
}

// cleanMap sets each entry again, since what is in a map cannot be changed in place.
func cleanMap(v reflect.Value) {
	for _, key := range v.MapKeys() {
		newKey, value := reflect.New(key.Type()).Elem(), reflect.New(v.Type().Elem()).Elem()
		newKey.Set(key)
		value.Set(v.MapIndex(key))
		clean(newKey)
		clean(value)
		v.SetMapIndex(key, reflect.Value{})
		v.SetMapIndex(newKey, value)
	}
}
