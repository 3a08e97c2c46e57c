"""Fan a PowerShell script block out to many Windows hosts over WinRM: Invoke-Command -AsJob outside PowerShell."""
