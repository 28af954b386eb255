package sqlite

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/FerretDB/FerretDB/internal/backends"
	"github.com/FerretDB/FerretDB/internal/backends/sqlite/metadata"
	"github.com/FerretDB/FerretDB/internal/handler/sjson"
	"github.com/FerretDB/FerretDB/internal/types"
	"github.com/FerretDB/FerretDB/internal/util/must"
)

// More would pass SQLite's limit of 32,766 parameters.
const mostParameters = 30_000

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// prefilter is the part of a filter that SQLite can do with its indexes: equality and $in of strings, binaries,
// object ids and, for _id, documents. FerretDB itself filters what comes, so this may let through too much, never too little.
func prefilter(filter *types.Document) (string, []any) {
	var clauses []string
	var args []any
	for _, name := range filter.Keys() {
		value := must.NotFail(filter.Get(name))
		texts := wanted(name, value)
		if texts == nil || len(args)+len(texts) > mostParameters || !plainName.MatchString(name) {
			continue
		}
		field := fmt.Sprintf("%s->'%s'", metadata.DefaultColumn, name)
		clause := fmt.Sprintf("%s IN (?%s)", field, strings.Repeat(", ?", len(texts)-1))
		if name != "_id" { // an array matches by its elements, and its text begins with a bracket
			clause = fmt.Sprintf(`(%s OR %s >= '[' AND %s < '\')`, clause, field, field)
		}
		clauses = append(clauses, clause)
		args = append(args, texts...)
	}
	if clauses == nil {
		return "", nil
	}
	return " WHERE " + strings.Join(clauses, " AND "), args
}

// wanted returns the texts of the values that a condition admits, or nil when SQLite can't tell.
func wanted(name string, condition any) []any {
	switch value := condition.(type) {
	case string, types.ObjectID, types.Binary:
		return []any{string(must.NotFail(sjson.MarshalSingleValue(value)))}
	case *types.Document:
		if value.Len() == 0 || name != "_id" && value.Command() != "$in" {
			return nil
		}
		if !strings.HasPrefix(value.Command(), "$") {
			return []any{string(must.NotFail(sjson.MarshalSingleValue(value)))}
		}
		list, ok := must.NotFail(value.Get(value.Command())).(*types.Array)
		if !ok || value.Command() != "$in" {
			return nil
		}
		var all []any
		for i := range list.Len() {
			element := must.NotFail(list.Get(i))
			if document, ok := element.(*types.Document); ok && (name != "_id" || strings.HasPrefix(document.Command(), "$")) {
				return nil
			}
			text := wanted(name, element)
			if text == nil {
				return nil
			}
			all = append(all, text...)
		}
		return all
	}
	return nil
}

// deleteInParts is DeleteAll for more documents than one statement has parameters.
func (c *collection) deleteInParts(ctx context.Context, ids []any) (*backends.DeleteAllResult, error) {
	all := new(backends.DeleteAllResult)
	for part := range slices.Chunk(ids, mostParameters) {
		one, err := c.DeleteAll(ctx, &backends.DeleteAllParams{IDs: part})
		if err != nil {
			return nil, err
		}
		all.Deleted += one.Deleted
	}
	return all, nil
}
