"""The console: pages for people about everything that the records tell.

`handler` maps addresses to pages. A page is read as a frozen value (`overview`, `details`, `utterances`, on what `views` reads), worked
out (`figures`), drawn (`charts`) and laid out (`pages` and the templates beside it). Who looks is known by `identity`, with `iap` or
`settings`, and is a `viewer`. Whoever may act gets a form (`act_forms`, `act_pages`, `offers`), which comes back to `submit`, past
`guard`. It writes no object: what people ask for goes out as the command line's message, from `acts`. No other folder imports it.
"""
