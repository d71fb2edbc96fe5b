"""What is decided before any arithmetic: demand, periods, segments, runs, tiles, forecasts."""
