"""Channel power gain as a function of time: path loss, shadowing, fading, mobility and traces."""
