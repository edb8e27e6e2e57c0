"""Review annotations in the viewer: queue, decisions, corrections bead by bead. The widget: `ReviewWidget`."""
