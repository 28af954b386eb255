package handler

import (
	"context"
	"sync"

	"github.com/FerretDB/wire"
)

// oneAtATime makes update, findAndModify and delete atomic, as they are in MongoDB: FerretDB reads, filters and
// then writes by _id, so that two clients may both pass the same filter. They take turns, by collection.
// So do commands that make collections and indexes, whose metadata FerretDB reads while another changes it.
func (h *Handler) oneAtATime() {
	var collections sync.Map
	for _, name := range []string{"update", "findAndModify", "findandmodify", "delete", "create", "createIndexes"} {
		handle := h.commands[name].Handler
		h.commands[name].Handler = func(ctx context.Context, msg *wire.OpMsg) (*wire.OpMsg, error) {
			document, err := opMsgDocument(msg)
			if err != nil {
				return nil, err
			}
			database, _ := document.Get("$db")
			var collection any
			if name != "create" && name != "createIndexes" {
				collection, _ = document.Get(document.Command())
			}
			turn, _ := collections.LoadOrStore([2]any{database, collection}, new(sync.Mutex))
			turn.(*sync.Mutex).Lock()
			defer turn.(*sync.Mutex).Unlock()
			return handle(ctx, msg)
		}
	}
}
