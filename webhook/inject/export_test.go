package inject

// MarshalJSON writes the amount, or null if it is missing, for tests that compare pods.
func (q Quantity) MarshalJSON() ([]byte, error) {
	if !q.Stated {
		return []byte("null"), nil
	}
	return q.Quantity.MarshalJSON()
}
