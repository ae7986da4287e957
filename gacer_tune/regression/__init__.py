"""Two artifacts side by side: were other decisions made, and did times get worse?"""
