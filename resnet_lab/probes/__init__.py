"""Why a network trains as it does: measurements of a network beside its errors, and the table of them."""
