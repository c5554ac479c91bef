from client import KVClient

with KVClient() as client:
    # Store time-series data with timestamp keys
    client.put('metrics:2024-01-01T10:00:00', '{"cpu": 45, "mem": 60}')
    client.put('metrics:2024-01-01T10:01:00', '{"cpu": 50, "mem": 62}')
    client.put('metrics:2024-01-01T10:02:00', '{"cpu": 48, "mem": 61}')
    
    # Query range
    results = client.get_range(
        'metrics:2024-01-01T10:00:00',
        'metrics:2024-01-01T10:02:00'
    )
    for timestamp, metrics in results:
        print(f"{timestamp}: {metrics}")
